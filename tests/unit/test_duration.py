from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec
from broker_config.duration import Duration
from broker_config.duration_range import DurationRange

seconds = st.floats(0, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", 0.5),
        ("2s", 2),
        ("1.5s", 1.5),
        ("1m30s", 90),
        ("1m 30s", 90),
        ("2h", 7200),
        ("1d2h3m4s5ms", 93784.005),
        (" 10 ", 10),
        ("2.5", 2.5),
        ("0", 0),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_ways_to_write_a_duration(text: object, expected: float) -> None:
    assert Duration.parse(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "1x",
        "1s2",
        "-1s",
        "-1",
        "1..5s",
        "1 2",
        "1 5s",
        "nan",
        -1,
        math.nan,
        math.inf,
        True,
        None,
        [],
    ],
)
def test_what_is_no_duration_is_refused_with_what_is_allowed(value: object) -> None:
    with pytest.raises(ValueError, match="500ms, 2s, 1m30s, 2h, or a number of seconds") as e:
        Duration.parse(value)
    assert repr(value) in str(e.value)


@given(seconds)
def test_a_duration_survives_json_exactly(value: float) -> None:
    assert codec.decode(codec.encode(Duration(value)), Duration) == value


@given(st.integers(0, 10**9))
def test_what_is_shown_reads_as_the_same_time(milliseconds: int) -> None:
    value = milliseconds / 1000
    assert Duration.parse(str(Duration(value))) == pytest.approx(value, rel=1e-5)


@given(st.integers(0, 10**6))
def test_whole_seconds_are_shown_exactly(value: int) -> None:
    assert float(Duration.parse(str(Duration(value)))) == value


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("2s", 2, 2),
        (2, 2, 2),
        ("1s-3s", 1, 3),
        ("500ms-1m", 0.5, 60),
        ({"min": 1, "max": "3s"}, 1, 3),
        ({"max": 3}, 0, 3),
        ({"min": 3}, 3, 3),
    ],
)
def test_ways_to_write_a_range(value: object, low: float, high: float) -> None:
    parsed = DurationRange.parse(value)
    assert (parsed.min, parsed.max) == (low, high)


@pytest.mark.parametrize(
    "value", ["", "3s-1s", "1s-", "-1s", "1s-2s-3s", {}, {"mean": 1}, {"min": 3, "max": 1}, None]
)
def test_what_is_no_range_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        DurationRange.parse(value)


@given(seconds, seconds)
def test_a_range_survives_json_exactly(a: float, b: float) -> None:
    value = DurationRange(min(a, b), max(a, b))
    assert codec.decode(codec.encode(value), DurationRange) == value
