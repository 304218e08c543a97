"""How long jobs are expected to take, and when their sessions begin."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config.arrivals import Arrivals
from broker_config.duration import Duration
from broker_config.job_plan import Span
from broker_config.job_spec import MAX_SESSIONS, JobSpec, read_spec
from broker_config.load import RampingVus, VuStage
from orchestrator.core.estimate import PAGE, SCRIPT, SCROLLS, STEP, Run, _active, course, session_span
from orchestrator.core.schedule import ramped

TEN = Span(least=5, likely=10, most=60)


def spec(**fields: Any) -> JobSpec:
    return read_spec({"targets": [{"url": "http://127.0.0.1/"}]} | fields)


def session(**fields: Any) -> tuple[float, float, float]:
    span, _ = session_span(spec(sessions=1, **fields))
    assert span.most is not None
    return span.least, pytest.approx(span.likely), span.most  # type: ignore[return-value]


# --- one session -------------------------------------------------------------------------------------------


def test_a_page_that_is_only_opened() -> None:
    assert session(behaviour={"scroll": False}) == (0, PAGE, 120)


def test_a_reader() -> None:
    reads = {"dwell": "2s-4s", "scroll_rest": "100ms-300ms", "think": "1s", "click_ratio": 0.5, "depth": 3}
    pages = 1 + 0.5 + 0.25
    likely = pages * (PAGE + 3 + SCROLLS * 0.2) + (pages - 1) * 1
    assert session(behaviour=reads, limits={"session": "60s"}) == (2, likely, 60)
    # Who always follows a link sees all pages.
    assert session(behaviour=reads | {"click_ratio": 1})[0] == 3 * 2 + 2 * 1


def test_no_session_is_expected_to_outlive_its_limit() -> None:
    limits = {"session": "10s"}
    assert session(behaviour={"dwell": "9s"}, limits=limits)[1] == 10


def test_a_journey() -> None:
    steps = [{"goto": "/"}, {"click": "#a"}, {"goto": "/b"}, {"pause": "3s"}, {"dwell": "1s-3s"}]
    likely = 2 * PAGE + STEP + 3 + 2
    assert session(journey={"steps": steps}) == (3 + 1, likely, 120)
    # The target is opened first, where the first step opens nothing; before each step there is time to think.
    assert session(journey={"steps": steps[1:]})[1] == likely
    assert session(journey={"steps": steps}, behaviour={"think": "1s"})[:2] == (9, likely + 5)


def test_a_script_is_guessed_and_the_words_say_so() -> None:
    source = "async def journey(page, context): ...\n"
    span, words = session_span(spec(sessions=1, script={"source": source}))
    assert (span.least, span.likely) == (0, SCRIPT)
    assert words[0].startswith("what the script does is not known")


# --- the job: virtual users --------------------------------------------------------------------------------


def test_sessions_are_shared_by_the_slots_that_there_are() -> None:
    job = spec(sessions=25, load={"vus": 10})
    found = course(job, TEN, slots=4)
    rounds = math.ceil(25 / 4)
    assert found.duration == Span(least=rounds * 5, likely=rounds * 10, most=rounds * 60)
    assert (found.at_once, found.needed) == (4, 10)
    # 0, 10, … 50 s with four each, and one at 60 s.
    assert found.minutes == [24, 1]
    assert course(job, TEN, slots=None).at_once == 10
    assert course(spec(sessions=3, load={"vus": 10}), TEN, slots=None).needed == 3


def test_a_platform_with_few_slots_is_what_takes_long() -> None:
    job = spec(sessions=20, load={"vus": 10})
    assert course(job, TEN, 10, [(15, 8), (5, 1)]).duration.likely == 5 * 10


def test_pacing_and_delay_and_limit() -> None:
    job = spec(sessions=10, load={"vus": 1, "pacing": "20s", "start_delay": "45s"})
    found = course(job, TEN, 1)
    assert found.duration.likely == 45 + 9 * 20 + 10
    assert found.minutes == [1, 3, 3, 3]
    limited = spec(sessions=10, load={"vus": 1, "max_duration": "30s", "graceful_stop": "5s"})
    found = course(limited, TEN, 1)
    assert found.duration == Span(least=30, likely=35, most=35)
    assert found.minutes == [3]


def test_constant_users_go_on_for_the_duration() -> None:
    load = {"executor": "constant-vus", "vus": 3, "duration": "90s", "graceful_stop": "20s"}
    found = course(spec(load=load), TEN, 10)
    assert found.minutes == [18, 9]
    assert found.duration == Span(least=90, likely=100, most=110)
    # The job's number is an upper bound: with it, the job can be over sooner.
    found = course(spec(sessions=6, load=load), TEN, 10)
    assert found.minutes == [6]
    assert found.duration.likely == 20


def test_ramping_users() -> None:
    stages = [
        {"duration": "60s", "target": 2},
        {"duration": "60s", "target": 2},
        {"duration": 0, "target": 0},
    ]
    load = {"executor": "ramping-vus", "start_vus": 0, "stages": stages}
    # One from 30 s on, another one from 60 s on.
    assert course(spec(load=load), TEN, None).minutes == [3, 12]
    assert course(spec(load=load), TEN, 1).minutes == [3, 6]
    assert course(spec(load=load, sessions=5), TEN, None).minutes == [3, 2]


STAGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.integers(0, 6), STAGES, st.floats(0, 200))
def test_users_are_there_when_the_conductor_has_them(
    start: int, stages: list[tuple[int, int]], t: float
) -> None:
    load = RampingVus(start_vus=start, stages=[VuStage(duration=Duration(d), target=n) for d, n in stages])
    runs = [run for user in range(6) for run in _active(load, user, 1.0)]
    edges = [edge for run in runs for edge in (run.first, run.end)]
    # At the very edge, rounding decides.
    if all(abs(t - edge) > 1e-6 for edge in edges):
        assert sum(run.first <= t < run.end for run in runs) == ramped(load, t)


# --- the job: arrivals -------------------------------------------------------------------------------------


def test_arrivals_come_at_their_times() -> None:
    load = {"executor": "constant-arrival-rate", "rate": 30, "time_unit": "1m", "duration": "150s"}
    found = course(spec(load=load), TEN, None)
    assert found.minutes == [30, 30, 15]
    assert found.duration == Span(least=150, likely=160, most=180)
    assert (found.at_once, found.needed) == (5, 5)
    assert course(spec(load=load), TEN, 2).at_once == 2
    assert course(spec(load=load | {"max_vus": 3}), TEN, None).at_once == 3
    assert course(spec(load=load, sessions=40), TEN, None).minutes == [30, 10]


@settings(deadline=None)
@given(STAGES.filter(lambda stages: sum(d * n for d, n in stages) > 60), st.integers(0, 5))
def test_ramping_arrivals_agree_with_the_schedule(stages: list[tuple[int, int]], start: int) -> None:
    document = [{"duration": d, "target": n} for d, n in stages]
    job = spec(load={"executor": "ramping-arrival-rate", "start_rate": start, "stages": document})
    arrivals = Arrivals(job.load)  # type: ignore[arg-type]
    found = course(job, TEN, None)
    times = [arrivals.time(n) for n in range(1, arrivals.count + 1)]
    assert sum(found.minutes) == job.total_sessions == arrivals.count
    for minute, begun in enumerate(found.minutes):
        assert begun == sum(60 * minute <= t < 60 * (minute + 1) for t in times)


def test_minutes_end_after_a_day() -> None:
    load = {"executor": "constant-arrival-rate", "rate": 1, "time_unit": "1m", "duration": "2d"}
    assert course(spec(load=load), TEN, None).minutes == [1] * 1440


def test_a_run() -> None:
    run = Run(first=5, end=30, step=10, users=2)
    assert [run.before(t) for t in (0, 5, 5.1, 15, 16, 26, 1000)] == [0, 0, 2, 2, 4, 6, 6]


def test_a_ramp_of_many_users_is_estimated_at_once_and_about_right() -> None:
    stages = [{"duration": "1h", "target": 0 if i % 2 else 10_000} for i in range(100)]
    began = time.process_time()
    goes = course(spec(load={"executor": "ramping-vus", "stages": stages}), TEN, None)
    assert time.process_time() - began < 5
    assert (goes.at_once, sum(goes.minutes)) == (10_000, MAX_SESSIONS)

    def sessions(users: int) -> int:
        load = {"executor": "ramping-vus", "start_vus": 0, "stages": [{"duration": "10m", "target": users}]}
        return sum(course(spec(load=load), TEN, None).minutes)

    # Half of them on average, a session each 10 s: of a hundred one by one, of many in groups.
    assert sessions(100) == pytest.approx(100 / 2 * 60, rel=0.02)
    assert sessions(1_234) == pytest.approx(1_234 / 2 * 60, rel=0.02)
