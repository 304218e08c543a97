"""The sliding window of a threshold, against all sessions looked at one by one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec
from broker_config.messages import Measures, SessionRecord, StepRecord
from broker_config.threshold import parse
from orchestrator.core.sliding import SLICES, Sliding

START = 1_790_000_000.0


class Seen(NamedTuple):
    at: float
    status: Any
    target: str
    platform: str
    load: float | None

    @property
    def record(self) -> SessionRecord | None:
        if self.status in ("lost", "dropped"):
            return None
        return SessionRecord(
            job="j",
            session=1,
            attempt=1,
            status=self.status,
            runner="r",
            measures=Measures(load=self.load),
            steps=[] if self.load is None else [StepRecord(name="pay", ms=self.load)],
        )


gaps = st.floats(0, 3) | st.sampled_from([0.0, 1.0, 29.0, 30.0, 31.0, 500.0])
sessions = st.lists(
    st.builds(
        Seen,
        at=gaps,
        status=st.sampled_from(["ok", "ok", "failed", "lost", "cancelled", "dropped"]),
        target=st.sampled_from(["home", "shop"]),
        platform=st.sampled_from(["linux-chromium", "linux-firefox"]),
        load=st.none() | st.floats(1, 1e5),
    ),
    max_size=40,
).map(lambda found: in_order(found))


def in_order(found: list[Seen]) -> list[Seen]:
    at, out = START, []
    for seen in found:
        at += seen.at
        out.append(seen._replace(at=at))
    return out


def within(found: list[Seen], now: float, seconds: float) -> list[Seen]:
    """Those of the slice of `now` and the nine before it."""
    width = seconds / SLICES
    last = math.floor(now / width)
    return [s for s in found if last - SLICES < math.floor(s.at / width) <= last]


def fed(expression: str, found: list[Seen], seconds: float) -> Sliding:
    window = Sliding(parse(expression), seconds)
    for seen in found:
        window.add(seen.at, seen.status, seen.target, seen.platform, seen.record)
    return window


@given(sessions, st.floats(0, 40), st.sampled_from([1.0, 7.0, 30.0, 3600.0]))
def test_rates_are_those_of_the_sessions_in_it(found: list[Seen], later: float, seconds: float) -> None:
    now = (found[-1].at if found else START) + later
    mine = within(found, now, seconds)
    ran = [s for s in mine if s.status in ("ok", "failed", "lost")]
    bad = sum(s.status != "ok" for s in ran)
    assert fed("error_rate < 1%", found, seconds).measure(now) == (bad / len(ran) if ran else None)
    lost = sum(s.status == "lost" for s in mine)
    assert fed("lost < 1", found, seconds).measure(now) == (float(lost) if mine else None)


@given(sessions, st.floats(0, 40), st.sampled_from([("load", ""), ("load", "{target=shop}"), ("step", "")]))
def test_values_are_those_of_the_sessions_in_it(
    found: list[Seen], later: float, what: tuple[str, str]
) -> None:
    metric, group = what
    now = (found[-1].at if found else START) + later
    mine = [s for s in within(found, now, 30.0) if not group or s.target == "shop"]
    own = sorted(s.load for s in mine if s.load is not None and s.status in ("ok", "failed"))
    name = 'step["pay"]' if metric == "step" else metric

    def measured(aggregate: str) -> float | None:
        return fed(f"{name}.{aggregate}{group} < 1", found, 30.0).measure(now)

    assert measured("count") == (len(own) if mine else None)
    assert measured("max") == (own[-1] if own else None)
    assert measured("min") == (own[0] if own else None)
    assert measured("mean") == (pytest.approx(math.fsum(own) / len(own)) if own else None)
    p90 = measured("p90")
    assert p90 == (pytest.approx(own[int(0.9 * (len(own) - 1))], rel=0.0101) if own else None)


@given(sessions)
def test_it_spans_nearly_its_length_and_never_more(found: list[Seen]) -> None:
    if not found:
        return
    now = found[-1].at
    window = fed("load.count >= 0", [s._replace(status="ok", load=1.0) for s in found], 30.0)
    count = window.measure(now)
    assert count is not None
    assert sum(s.at > now - 27.0 for s in found) <= count <= sum(s.at > now - 30.0 - 1e-6 for s in found)


def test_its_memory_does_not_grow() -> None:
    window = Sliding(parse("load.p95 < 1s"), 10.0)
    sizes = []
    for i in range(20_000):
        seen = Seen(START + i / 50, "ok", "home", "linux-chromium", 100.0 + i % 150)
        window.add(seen.at, seen.status, seen.target, seen.platform, seen.record)
        assert len(window._slices) <= SLICES
        if i in (2_000, 19_999):
            sizes.append(sum(len(codec.encode(s)) for s in window._slices.values()))
    assert sizes[1] <= 1.1 * sizes[0]


def test_a_record_from_before_the_window_is_no_part_of_it() -> None:
    window = fed("ok < 1", [Seen(START + 100, "ok", "home", "linux-chromium", None)], 10.0)
    window.add(START, "ok", "home", "linux-chromium", None)
    assert window.measure(START + 100) == 1
