"""When sessions of an open-model load start."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config.arrivals import Arrivals
from broker_config.duration import Duration
from broker_config.load import ConstantArrivalRate, RampingArrivalRate, RateStage

rates = st.integers(0, 500).map(lambda n: n / 10)
stages = st.lists(
    st.builds(RateStage, duration=st.integers(0, 300).map(lambda n: Duration(n / 10)), target=rates),
    min_size=1,
    max_size=6,
)
ramps = st.builds(
    RampingArrivalRate,
    start_rate=rates,
    time_unit=st.sampled_from([1.0, 10.0, 60.0]).map(Duration),
    stages=stages,
)


def integral(load: RampingArrivalRate, t: Fraction) -> Fraction:
    """Of the rate up to `t`, exactly, from its definition."""
    total, start, rate = Fraction(0), Fraction(0), Fraction(str(load.start_rate))
    for stage in load.stages:
        length, goal = Fraction(str(float(stage.duration))), Fraction(str(stage.target))
        if length:
            spent = max(Fraction(0), min(t - start, length))
            total += (rate + (rate + (goal - rate) * spent / length)) * spent / 2
            start += length
        rate = goal
    return total / Fraction(load.time_unit)


def length(load: RampingArrivalRate) -> Fraction:
    return sum((Fraction(str(float(s.duration))) for s in load.stages), Fraction(0))


@settings(deadline=None)
@given(ramps)
def test_as_many_start_as_the_integral_has_whole_numbers(load: RampingArrivalRate) -> None:
    assert Arrivals(load).count == math.floor(integral(load, length(load)))


@settings(deadline=None)
@given(ramps, st.data())
def test_a_session_starts_when_the_integral_passes_its_number(
    load: RampingArrivalRate, data: st.DataObject
) -> None:
    arrivals = Arrivals(load)
    if not arrivals.count:
        return
    n = data.draw(st.integers(1, arrivals.count))
    t = arrivals.time(n)
    assert 0 <= t < length(load)
    assert math.isclose(integral(load, Fraction(t)), n - 1, abs_tol=1e-6)
    # Not before there is a rate again: a little later the integral is higher.
    assert integral(load, Fraction(t) + Fraction(1, 1000)) > n - 1 - 1e-9
    if n > 1:
        assert arrivals.time(n - 1) <= t


@pytest.mark.parametrize(
    ("rate", "unit", "duration", "count"),
    [
        (2, 1, 60, 120),
        (0.29, 1, 100, 29),  # 28.999999999999996 in floats
        (0.1, 1, 30, 3),
        (1, 60, 150, 2),
        (30, 60, 60, 30),
        (0.5, 1, 1.9, 0),
    ],
)
def test_a_constant_rate_starts_evenly(rate: float, unit: float, duration: float, count: int) -> None:
    arrivals = Arrivals(ConstantArrivalRate(rate=rate, time_unit=Duration(unit), duration=Duration(duration)))
    assert arrivals.count == count
    for n in range(1, count + 1):
        assert math.isclose(arrivals.time(n), (n - 1) * unit / rate, abs_tol=1e-9)


def test_a_pause_between_stages_starts_nothing() -> None:
    times = [(0, 0), (1, 4), (2, 4), (0, 0), (3, 0), (0, 10), (1, 10)]
    load = RampingArrivalRate(stages=[RateStage(duration=Duration(d), target=t) for d, t in times])
    arrivals = Arrivals(load)
    # 2 while it rises within 1 s, 8 in 2 s, none in 3 s, 10 in 1 s; the rate falls at once where it says so.
    assert arrivals.count == 20
    begun = [arrivals.time(n) for n in range(1, 21)]
    assert begun[0] == 0
    assert sum(t < 1 for t in begun) == 2
    assert sum(t < 3 for t in begun) == 10
    assert begun[10] == 6
    assert begun == sorted(begun)
    assert begun[19] == pytest.approx(6.9)


@pytest.mark.parametrize("n", [0, -1, 6])
def test_there_is_no_time_for_what_is_not_there(n: int) -> None:
    with pytest.raises(IndexError):
        Arrivals(ConstantArrivalRate(rate=5, duration=Duration(1))).time(n)


def test_a_million_sessions_keep_their_order() -> None:
    load = RampingArrivalRate(stages=[RateStage(duration=Duration(3600), target=555.5)])
    arrivals = Arrivals(load)
    assert arrivals.count == 999_900
    sample = [arrivals.time(n) for n in range(1, arrivals.count + 1, 997)]
    assert sample == sorted(sample)
    assert arrivals.time(999_900) < 3600
