"""What `tb jobs plan` and `tb profiles list` show."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Console

from broker_config.device_table import DEVICES
from broker_config.job_plan import JobPlan, PlannedPlatform, Span
from cli import plan, profiles

PLAN = JobPlan(
    name="shop [1]",
    executor="shared-sessions",
    sessions=24,
    most_sessions=24,
    targets={"home": 20, "cart": 4},
    platforms=[
        PlannedPlatform(
            platform="windows-msedge", sessions=4, runs_on="linux-chromium", runners=1, slots=8, free=5
        ),
        PlannedPlatform(platform="macos-webkit", sessions=20),
    ],
    devices={"Pixel 7": 24},
    at_once=8,
    minutes=[16, 8],
    session=Span(least=1, likely=4.5, most=120),
    duration=Span(least=30, likely=75, most=3600),
    rests_on=["1 s are assumed for opening a page"],
    warnings=["no online runner offers macos-webkit"],
)


def shown(of: JobPlan) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    console.print(plan._shown(of))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_plan() -> None:
    lines = [" ".join(line.split()) for line in shown(PLAN).splitlines()]
    whole = " ".join(lines)
    assert (
        "shop [1] 24 sessions by shared-sessions, 8 at once; about 75 s (at least 30 s, at most 60 min)"
        in whole
    )
    for line in (
        "a session takes about 4.5 s",
        "home 20",
        "windows-msedge 4 linux-chromium 1 8 5",
        "macos-webkit 20 – 0 0 0",
        "Pixel 7 24",
        f"1 16 {'█' * 30}",
        f"2 8 {'█' * 15}",
        "1 s are assumed for opening a page",
        "! no online runner offers macos-webkit",
    ):
        assert line in lines


def test_a_large_plan_is_summed_up() -> None:
    many = {f"t{n}": 1 for n in range(1000)}
    text = shown(msgspec.structs.replace(PLAN, targets=many, minutes=[1] * 1000, most_sessions=99))
    assert len(text.splitlines()) < 70
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "and 980 more 980" in lines
    assert f"951–1000 50 {'█' * 30}" in lines
    assert "about 24 sessions" in lines[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (9.9, "9.9 s"), (75, "75 s"), (90, "2 min"), (7500, "2 h 5 min")]
)
def test_times(seconds: float, text: str) -> None:
    assert plan._time(seconds) == text


def test_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    profiles.show_list([], json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(DEVICES)
    profiles.show_list(["PIXEL 7", "landscape"], json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"] for row in rows} == {
        "Pixel 7 landscape",
        "Pixel 7 Pro landscape",
        "Pixel 7a landscape",
    }
    assert rows[0].keys() == {"name", "width", "height", "scale", "mobile", "touch", "browser"}
    profiles.show_list(["iphone", "15"], json=False)
    out = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "iPhone 15 393×659 3 yes yes webkit" in out
    profiles.show_list(["siemens"], json=False)
    said = capsys.readouterr()
    assert said.out == ""
    assert "no profile has 'siemens' in its name" in said.err
