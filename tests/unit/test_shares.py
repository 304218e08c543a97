from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.core.shares import split

weights = st.lists(st.floats(0, 1e6, exclude_min=True), min_size=1, max_size=60)


@given(st.integers(0, 1_000_000), weights)
@example(1_000_000, [1.0] * 10_000)
@example(1, [5e-324] * 3)
@example(1_000_000, [1e6, 5e-324])
@example(3, [0.1, 0.2, 0.3])
def test_shares_sum_exactly_and_none_is_one_away_from_its_due(total: int, weights: list[float]) -> None:
    parts = split(total, weights)
    whole = sum(map(Fraction, weights))
    assert sum(parts) == total
    assert len(parts) == len(weights)
    for part, weight in zip(parts, weights, strict=True):
        due = total * Fraction(weight) / whole
        assert part >= 0
        assert abs(part - due) < 1 + Fraction(1, 10**6)


@given(st.integers(0, 10_000), weights)
def test_of_two_weights_the_larger_never_gets_less(total: int, weights: list[float]) -> None:
    parts = split(total, weights)
    ranked = sorted(zip(weights, parts, strict=True))
    for (low, less), (high, more) in pairwise(ranked):
        assert low == high or less <= more


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),  # ties go to the earlier one
        (7, [3, 1], [5, 2]),
        (0, [1, 2], [0, 0]),
        (5, [7], [5]),
        (1, [1, 3], [0, 1]),
        (100, [1, 1e6], [0, 100]),
        (24, [2, 1, 1], [12, 6, 6]),
    ],
)
def test_known_splits(total: int, weights: list[float], parts: list[int]) -> None:
    assert split(total, weights) == parts


@given(st.integers(0, 1000), st.integers(1, 40))
def test_equal_weights_give_equal_shares(total: int, n: int) -> None:
    parts = split(total, [2.5] * n)
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)
