"""A journey made ready for one session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import document, variables
from broker_config.behaviour import Behaviour
from broker_config.duration_range import DurationRange
from broker_config.journey import Fill, Journey
from broker_config.messages import Dispatch
from runner.core.journey_plan import PlannedStep, may_go, plan_journey


def a_dispatch(*steps: dict[str, Any], **more: Any) -> Dispatch:
    journey = document.read({"steps": list(steps), "timeout": "3s"}, Journey)
    fields = {"job": "j", "session": 7, "platform": "p", "target": "t", "url": "http://a.test/x"}
    return Dispatch(**{**fields, "journey": journey, **more})


def test_values_are_filled_in_and_names_are_not() -> None:
    first, second = plan_journey(
        a_dispatch(
            {"fill": {"label": "Mail", "value": "${u.mail}+${ session }$${x}"}},
            {"goto": "/${u.path}", "name": "to ${u.path}"},
            variables={"u.mail": "a@b.c", "u.path": 5},
        )
    )
    assert isinstance(first.argument, Fill)
    assert first.argument.value == "a@b.c+7${x}"
    assert (first.name, str(first)) == ('fill label "Mail"', 'step 1, fill label "Mail"')
    assert (second.argument, second.name) == ("/5", "to ${u.path}")
    assert str(second) == 'step 2, "to ${u.path}" (goto /${u.path})'


def test_the_name_of_a_role_is_filled_in() -> None:
    (step,) = plan_journey(
        a_dispatch({"click": {"role": "link", "name": "${u.a}"}}, variables={"u.a": "Ada"})
    )
    assert step.argument.name == "Ada"


def test_a_variable_without_value_is_named() -> None:
    with pytest.raises(KeyError, match=r"u\.gone"):
        plan_journey(a_dispatch({"goto": "/${u.gone}"}))


def test_time_outs_come_from_step_journey_and_limits() -> None:
    steps = plan_journey(a_dispatch({"goto": "/"}, {"click": "a"}, {"click": "a", "timeout": "9s"}))
    assert [s.timeout for s in steps] == [30, 3, 9]


@given(st.integers(0, 2**48), st.floats(0, 9), st.floats(0, 9))
def test_times_are_drawn_by_the_seed_within_their_ranges(seed: int, a: float, b: float) -> None:
    low, high = sorted((a, b))

    def drawn() -> list[PlannedStep]:
        dwell = {"dwell": {"min": low, "max": high}}
        behaviour = Behaviour(think=DurationRange(low, high))
        return plan_journey(a_dispatch(dwell, dwell, {"pause": 2}, seed=seed, behaviour=behaviour))

    steps = drawn()
    assert steps == drawn()
    assert all(low <= s.stay <= high for s in steps[:2])
    assert steps[2].stay == 2
    assert steps[0].think == 0
    assert all(low <= s.think <= high for s in steps[1:])


def test_without_a_journey_there_are_no_steps() -> None:
    assert plan_journey(Dispatch(job="j", session=1, platform="p", target="t", url="http://a.test/")) == []


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("http://a.test/y", True),
        ("http://A.TEST:80/y", True),
        ("https://a.test/", False),
        ("http://b.test/", True),
        ("http://c.test/", False),
        ("http://a.test@c.test/", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("about:blank", False),
        ("http:\\\\c.test", False),
    ],
)
def test_only_origins_of_the_job_may_be_opened(url: str, may: bool) -> None:
    assert may_go(url, a_dispatch({"goto": "/"}, origins=["http://b.test"])) is may


@given(st.text())
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    if "${" not in text:
        assert variables.filled(text, {}) == text
        assert variables.names(text) == []


def test_values_are_written_as_people_would() -> None:
    values = {"a": True, "b": None, "c": 1.5, "d": "${a}"}
    assert variables.filled("${a}|${b}|${c}|${d}", values) == "true||1.5|${a}"
