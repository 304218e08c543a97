"""What people see, from recorded messages: complete, and within 80 columns."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest
from rich.console import Console, RenderableType

from broker_config import codec
from broker_config import words as words_of_numbers
from broker_config.api import JobDetail, JobRow, PlatformView, RunnerView, SessionRow
from broker_config.errors import JobNotFound
from broker_config.job import Cell, ErrorExample, StepCell, Timeline
from broker_config.messages import Counts, ErrorInfo, JobProgress, Summary
from broker_config.report import ReportThreshold
from broker_config.sketch import Sketch
from cli import failure, job_summary, output, render, runner_tables, words

GOLDEN = Path(__file__).parents[1] / "golden"


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(what)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    return str(text)


def progress(**changes: object) -> JobProgress:
    load = Summary(count=3, min=1, max=3000, mean=2, p50=85, p75=90, p90=100, p95=2350, p99=2400)
    p = JobProgress(
        job="j1m86t5tkbt4j3",
        seq=4,
        at=10.0,
        state="running",
        name="shop",
        counts=Counts(planned=24, ok=7, failed=2, running=4),
        rate=3.25,
        runners=2,
        metrics={"load": load},
    )
    return msgspec.structs.replace(p, **changes)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0 ms"), (84.6, "85 ms"), (1000, "1.00 s"), (2350, "2.35 s")]
)
def test_times(value: float | None, text: str) -> None:
    assert words_of_numbers.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (12_345, "12.3 KB"), (4e9, "4.0 GB")]
)
def test_sizes(value: float, text: str) -> None:
    assert words_of_numbers.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s ago"), (59, "59s ago"), (60, "1m ago"), (7200, "2h ago"), (172_800, "2d ago")],
)
def test_ages(seconds: float, text: str) -> None:
    assert words.ago(1000.0, 1000.0 + seconds) == text


def test_a_running_job_says_how_far_how_fast_how_well_and_by_whom() -> None:
    p = progress(waiting_for=["windows-msedge"])
    for text in (render.progress_line(p), shown(render.live(p))):
        words = ("9/24", "ok 7", "failed 2", "85 ms", "2.35 s", "runners 2", "waiting for windows-msedge")
        for word in words:
            assert word in text, (word, text)
    assert "3.2/s" in render.progress_line(p)
    assert "coming back" in shown(render.live(p, "coming back"))


def test_a_large_job_still_fits_its_lines() -> None:
    counts = Counts(planned=1_000_000, ok=123_456, failed=7_890, running=10_000)
    text = shown(render.live(progress(counts=counts, runners=999, rate=9999.9)))
    assert len(text.splitlines()) <= 5


def test_the_summary_tells_the_verdict_and_why() -> None:
    p = progress(
        state="finished",
        verdict="failed",
        reason="threshold does not hold: load.p95 < 2s (was 2.35 s)",
        started_at=100.0,
        ended_at=105.04,
        counts=Counts(planned=9, ok=6, failed=1, lost=2, retried=1),
        errors={"http_error": 1},
        thresholds={"load.p95 < 2s": False, "error_rate < 50%": True, "lcp.p75 < 1s": None},
    )
    text = shown(job_summary.summary(p))
    for word in (
        "failed  shop (j1m86t5tkbt4j3) in 5.0 s",
        "was 2.35 s",
        "9 sessions: 6 ok, 1 failed, 2 lost",
        "page load",
        "http_error",
    ):
        assert word in text, (word, text)
    ends = {line.rstrip().split("  ")[-1].strip() for line in text.splitlines() if " < " in line}
    assert {"does not hold", "holds", "not measured"} <= ends


def test_the_summary_has_steps_values_of_thresholds_first_errors_and_proxies() -> None:
    times = Sketch()
    for value in (100.0, 200.0):
        times.add(value)
    what = "no proxy of 1 is left (http://127.0.0.1:3128: no connection: Connection refused)"
    detail = JobDetail(
        job="j1",
        seq=1,
        total=Cell(),
        targets={},
        platforms={},
        timeline=Timeline(),
        errors={},
        steps={
            "open the shop and all that is in it, whatever it may be": StepCell(ok=2, failed=1, time=times)
        },
        thresholds=[
            ReportThreshold(threshold="load.p95 < 2s", holds=False, actual=2350.0, shown="2350 ms"),
            ReportThreshold(threshold="lcp.p75 < 1s", holds=None, actual=None, shown="nothing"),
        ],
        examples={"egress_failed": [ErrorExample(session=7, detail=what)]},
        upstreams={"direct": 2, "http://127.0.0.1:3129": 4},
    )
    p = progress(state="finished", verdict="failed", errors={"egress_failed": 1}, thresholds={"x": None})
    fallen = {"http://127.0.0.1:3128": "no connection"}
    lines = [" ".join(text.split()) for text in shown(job_summary.summary(p, detail, fallen)).splitlines()]
    (step,) = (text for text in lines if text.startswith("open the shop"))
    assert re.search(r" 3 1 \d+ ms \d+ ms$", step), step
    assert "load.p95 < 2s 2350 ms does not hold" in lines
    assert "lcp.p75 < 1s – not measured" in lines
    whole = " ".join(lines)
    assert "egress_failed 1 session 7: no proxy of 1 is left" in whole
    assert "127.0.0.1:3128: no connection:" in whole
    assert "http://127.0.0.1:3128 0 no connection" in lines
    assert "http://127.0.0.1:3129 4" in lines


def test_sessions_fit_a_terminal_with_what_went_wrong() -> None:
    error = ErrorInfo(kind="http_status", detail="the page answered with 500\n" + "x" * 200)
    rows = [
        SessionRow(
            session=n,
            attempt=1,
            status="failed",
            counted=True,
            seq=n,
            target=f"http://127.0.0.1:8080/a/page/of/some/length/{n}",
            platform="linux-chromium",
            error=error,
        )
        for n in (999_999, 1_000_000)
    ]
    head, _, *lines = shown(render.sessions(rows)).splitlines()
    assert len(lines) == 2
    assert "http_status: the page" in lines[0]
    assert "/of/some/length/1000000" in lines[1]
    assert "status" in head


def test_recorded_messages_can_be_shown() -> None:
    p = codec.decode((GOLDEN / "JobProgress.json").read_bytes(), JobProgress)
    assert p.job in shown(job_summary.summary(p))
    assert p.job in shown(render.live(p))


def test_names_of_users_are_no_markup() -> None:
    assert "[red]shop[/red]" in shown(render.live(progress(name="[red]shop[/red]")))
    row = JobRow(id="j1", name="[bold]x", state="queued", submitted_at=0, planned=1, ended=0, ok=0, failed=0)
    assert "[bold]x" in shown(render.jobs([row], 1.0))


def test_lists() -> None:
    row = JobRow(
        id="j1m86t5tkbt4j3",
        name="shop",
        state="queued",
        submitted_at=40.0,
        planned=3,
        ended=1,
        ok=1,
        failed=0,
        waiting_for=["windows-msedge"],
    )
    text = shown(render.jobs([row], 100.0))
    assert "1/3" in text
    assert "1m ago" in text
    assert "waiting for" in text
    runner = RunnerView(id="r1", state="online", slots=4, busy=1, platforms=[], last_seen=99.0)
    assert "1/4" in shown(runner_tables.runners([runner], 100.0))
    assert "1 busy of 4" in shown(runner_tables.runner(runner, 100.0))
    platform = PlatformView(platform="linux-chromium", runners=2, slots=8, free=3)
    assert "linux-chromium" in shown(runner_tables.platforms([platform]))


def test_nothing_that_a_site_or_runner_says_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202eabc"
    p = progress(name=evil, reason=evil, errors={evil: 3}, state="finished", verdict="failed")
    output.out().print(job_summary.summary(p))
    output.err().print(evil, markup=False)
    output.err().print(render.live(p, evil))
    with pytest.raises(SystemExit), failure.in_words():
        raise JobNotFound(evil)
    said = "".join(capsys.readouterr())
    assert said.count("abc") == 7
    assert not set(said) & set("\x1b\x07\x9b\r\u202e")
