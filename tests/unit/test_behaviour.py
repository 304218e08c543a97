"""The behaviour plan is drawn from the seed alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.behaviour import PRESETS, Behaviour
from broker_config.duration_range import DurationRange
from broker_config.errors import SpecError
from broker_config.job_spec import read_spec
from runner.core.behaviour import DRAWN_STEPS, MAX_SCROLLING, PagePlan, plan_behaviour

seeds = st.integers(0, 2**53)
ranges = st.tuples(st.floats(0, 100), st.floats(0, 100)).map(lambda p: DurationRange(*sorted(p)))
behaviours = st.builds(
    Behaviour,
    preset=st.sampled_from([None, *PRESETS]),
    dwell=st.none() | ranges,
    scroll=st.none() | st.booleans(),
    scroll_rest=st.none() | ranges,
    click_ratio=st.none() | st.floats(0, 1),
    depth=st.none() | st.integers(1, 20),
    think=st.none() | ranges,
)


def first(behaviour: Behaviour, seed: int) -> PagePlan:
    return plan_behaviour(behaviour, seed).pages[0]


@given(behaviours, seeds)
def test_the_same_seed_gives_the_same_plan_within_the_bounds(behaviour: Behaviour, seed: int) -> None:
    plan = plan_behaviour(behaviour, seed)
    assert plan_behaviour(behaviour, seed) == plan
    b = behaviour.resolved()
    assert 1 <= len(plan.pages) <= b.depth
    assert [p.follow for p in plan.pages] == [True] * (len(plan.pages) - 1) + [False]
    assert sum(p.dwell + p.think for p in plan.pages) <= b.longest + 1e-6
    for page in plan.pages:
        assert b.dwell.min <= page.dwell <= b.dwell.max
        assert bool(page.steps) is b.scroll
        if page.steps and page.most > 1:
            assert page.most * (b.scroll_rest.min + b.scroll_rest.max) / 2 <= MAX_SCROLLING + 1
        assert all(0 <= pick < 1 for pick in page.picks)
        assert bool(page.picks) is page.follow


def test_the_golden_plan_is_what_it_always_was() -> None:
    """Else a session that is tried again under a new version would read other pages."""
    page = first(Behaviour(dwell=DurationRange(1, 3)), 7)
    assert (round(page.dwell, 6), page.look) == (1.647666, 0.065)
    assert [(s.share, s.rest) for s in page.steps[:2]] == [(0.76, 0.046), (0.714, 0.069)]


def test_seeds_differ_in_steps_and_dwell() -> None:
    plans = [first(Behaviour(dwell=DurationRange(1, 3)), seed) for seed in range(50)]
    assert len({p.dwell for p in plans}) == 50
    assert len({p.steps for p in plans}) == 50


@given(seeds, ranges)
def test_dwell_lies_in_its_range_and_steps_go_down(seed: int, dwell: DurationRange) -> None:
    page = first(Behaviour(dwell=dwell), seed)
    assert dwell.min <= page.dwell <= dwell.max
    assert len(page.steps) == DRAWN_STEPS
    assert all(0.3 < s.share < 1 and 0 < s.rest < 1 for s in page.steps)


def test_dwell_fills_its_range_evenly() -> None:
    dwells = [first(Behaviour(dwell=DurationRange(10, 20)), seed).dwell for seed in range(2000)]
    assert 14.7 < sum(dwells) / len(dwells) < 15.3
    assert min(dwells) < 10.1
    assert max(dwells) > 19.9


def test_without_scrolling_there_are_no_steps_and_the_dwell_is_the_same() -> None:
    scrolling = first(Behaviour(dwell=DurationRange(1, 3)), 7)
    still = first(Behaviour(dwell=DurationRange(1, 3), scroll=False), 7)
    assert (still.steps, still.look) == ((), 0)
    assert still.dwell == scrolling.dwell


def test_links_are_followed_as_often_as_the_click_ratio_says() -> None:
    behaviour = Behaviour(click_ratio=0.3, depth=2)
    followed = sum(len(plan_behaviour(behaviour, seed).pages) == 2 for seed in range(2000))
    assert 520 < followed < 680
    assert all(len(plan_behaviour(Behaviour(click_ratio=1.0, depth=5), s).pages) == 5 for s in range(20))
    assert all(len(plan_behaviour(Behaviour(click_ratio=0.0, depth=5), s).pages) == 1 for s in range(20))


def test_without_a_preset_a_session_reads_one_page_and_leaves() -> None:
    (page,) = plan_behaviour(Behaviour(), 1).pages
    assert (page.dwell, page.follow, len(page.steps)) == (0, False, DRAWN_STEPS)


def test_a_preset_gives_what_is_left_out() -> None:
    mine = Behaviour(preset="explorer", depth=2, scroll=False).resolved()
    explorer = PRESETS["explorer"]
    assert (mine.depth, mine.scroll) == (2, False)
    assert (mine.dwell, mine.click_ratio, mine.think) == (
        explorer.dwell,
        explorer.click_ratio,
        explorer.think,
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_into_the_default_limits(preset: str) -> None:
    read_spec({"targets": [{"url": "http://a.test/"}], "sessions": 1, "behaviour": {"preset": preset}})


def test_pages_that_do_not_fit_into_the_limit_are_refused() -> None:
    document = {
        "targets": [{"url": "http://a.test/"}],
        "sessions": 1,
        "behaviour": {"preset": "soak", "depth": 5},
    }
    with pytest.raises(SpecError, match=r"behaviour.depth: 5 pages of 20s-40s, with 1s-3s between"):
        read_spec(document)
