"""The behaviour plan is drawn from the seed alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker_config.duration_range import DurationRange
from broker_config.job_spec import Behaviour
from runner.core.behaviour import DRAWN_STEPS, plan_behaviour

seeds = st.integers(0, 2**53)


@given(seeds)
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    behaviour = Behaviour(dwell=DurationRange(1, 3))
    assert plan_behaviour(behaviour, seed) == plan_behaviour(behaviour, seed)


def test_seeds_differ_in_steps_and_dwell() -> None:
    plans = [plan_behaviour(Behaviour(dwell=DurationRange(1, 3)), seed) for seed in range(50)]
    assert len({p.dwell for p in plans}) == 50
    assert len({p.steps for p in plans}) == 50


@given(seeds, st.floats(0, 100), st.floats(0, 100))
def test_dwell_lies_in_its_range_and_steps_go_down(seed: int, a: float, b: float) -> None:
    low, high = sorted((a, b))
    plan = plan_behaviour(Behaviour(dwell=DurationRange(low, high)), seed)
    assert low <= plan.dwell <= high
    assert len(plan.steps) == DRAWN_STEPS
    assert all(0.3 < s.share < 1 and 0 < s.rest < 1 for s in plan.steps)


def test_dwell_fills_its_range_evenly() -> None:
    dwells = [plan_behaviour(Behaviour(dwell=DurationRange(10, 20)), seed).dwell for seed in range(2000)]
    assert 14.7 < sum(dwells) / len(dwells) < 15.3
    assert min(dwells) < 10.1
    assert max(dwells) > 19.9


def test_without_scrolling_there_are_no_steps_and_the_dwell_is_the_same() -> None:
    scrolling = Behaviour(dwell=DurationRange(1, 3))
    still = Behaviour(dwell=DurationRange(1, 3), scroll=False)
    assert plan_behaviour(still, 7).steps == ()
    assert plan_behaviour(still, 7).look == 0
    assert plan_behaviour(still, 7).dwell == plan_behaviour(scrolling, 7).dwell
