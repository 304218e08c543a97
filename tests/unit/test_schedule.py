"""A load over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec
from broker_config.duration import Duration
from broker_config.load import (
    ConstantArrivalRate,
    ConstantVus,
    Load,
    RampingVus,
    SharedSessions,
    VuStage,
    peak,
)
from orchestrator.core.schedule import Schedule, ramped

T0 = 1_790_000_000.0


def d(seconds: float) -> Duration:
    return Duration(seconds)


def ramp(*stages: tuple[float, int], start: int = 1) -> RampingVus:
    return RampingVus(start_vus=start, stages=[VuStage(duration=d(s), target=t) for s, t in stages])


@pytest.mark.parametrize(
    ("t", "vus"),
    [(0, 0), (0.9, 0), (1, 1), (4.99, 4), (5, 5), (7, 5), (10, 5), (10.5, 5), (11, 4), (14.2, 1), (15, 0)],
)
def test_a_number_is_taken_on_when_the_line_has_reached_it(t: float, vus: int) -> None:
    assert ramped(ramp((5, 5), (5, 5), (5, 0), start=0), t) == vus


def test_a_stage_without_length_changes_the_number_at_once() -> None:
    load = ramp((2, 1), (0, 9), (2, 9))
    assert [ramped(load, t) for t in (0, 1.9, 2, 3.9, 4)] == [1, 1, 9, 9, 0]


ramps = st.builds(
    RampingVus,
    start_vus=st.integers(0, 50),
    stages=st.lists(
        st.builds(VuStage, duration=st.floats(0, 100).map(Duration), target=st.integers(0, 50)),
        min_size=1,
        max_size=5,
    ),
)


@given(ramps, st.floats(0, 600))
def test_users_stay_between_the_ends_of_their_stage(load: RampingVus, t: float) -> None:
    vus = ramped(load, t)
    start, before = 0.0, load.start_vus
    for stage in load.stages:
        if t < start + stage.duration:
            assert min(before, stage.target) <= vus <= max(before, stage.target)
            break
        start, before = start + stage.duration, stage.target
    else:
        assert vus == 0
    assert vus <= peak(load)


@pytest.mark.parametrize(
    "load",
    [
        SharedSessions(vus=3, start_delay=d(5)),
        ConstantVus(vus=3, duration=d(10), start_delay=d(5)),
        ramp((10, 1), start=1),
    ],
)
def test_nobody_starts_before_the_job_does(load: Load) -> None:
    schedule = Schedule(load)
    assert schedule.timed
    assert schedule.vus(T0, None) == 0
    assert not schedule.is_over(T0, None)


def test_the_delay_comes_first_and_the_time_after_it() -> None:
    schedule = Schedule(ConstantVus(vus=3, duration=d(10), start_delay=d(5), graceful_stop=d(2)))
    times = (0, 4.9, 5, 14.9, 15, 16.9, 17)
    assert [schedule.vus(T0 + t, T0) for t in times] == [0, 0, 3, 3, 0, 0, 0]
    assert [schedule.is_over(T0 + t, T0) for t in times] == [False] * 4 + [True] * 3
    assert [schedule.must_stop(T0 + t, T0) for t in times] == [False] * 6 + [True]


def test_shared_sessions_need_no_clock_unless_they_say_so() -> None:
    schedule = Schedule(SharedSessions(vus=4))
    assert not schedule.timed
    assert schedule.vus(T0, None) == schedule.vus(T0 + 1e6, T0) == 4
    assert not schedule.is_over(T0 + 1e6, T0)
    bounded = Schedule(SharedSessions(vus=4, max_duration=d(60)))
    assert not bounded.timed
    assert (bounded.vus(T0, None), bounded.vus(T0 + 59, T0), bounded.vus(T0 + 60, T0)) == (4, 4, 0)
    assert bounded.aborts


def test_sessions_of_an_open_model_have_times() -> None:
    schedule = Schedule(ConstantArrivalRate(rate=2, duration=d(10), start_delay=d(1), max_vus=7))
    assert schedule.start_of(1, None) is None
    assert [schedule.start_of(n, T0) for n in (1, 2, 20)] == [T0 + 1, T0 + 1.5, T0 + 10.5]
    # Sent ahead of its time, and some late: so the users are there before and after.
    assert [schedule.vus(T0 + t, T0) for t in (0, 5, 12)] == [7, 7, 7]
    assert schedule.is_over(T0 + 11, T0)
    assert Schedule(SharedSessions()).start_of(1, T0) is None


@given(st.sampled_from([SharedSessions(vus=2), ConstantVus(vus=2, duration=d(3)), ramp((1, 5))]))
def test_a_load_survives_the_wire(load: Load) -> None:
    assert codec.decode(codec.encode(load), Load) == load
