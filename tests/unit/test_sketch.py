from __future__ import annotations

import math
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec
from broker_config.sketch import ACCURACY, GAMMA, HIGHEST, LOWEST, Sketch, bucket

values = st.floats(1e-3, 1e9)
batches = st.lists(values, max_size=60)
quantiles = st.floats(0, 1)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def merged(*sketches: Sketch) -> Sketch:
    def add(total: Sketch, other: Sketch) -> Sketch:
        total.merge(other)
        return total

    return reduce(add, sketches, Sketch())


def same(a: Sketch, b: Sketch) -> bool:
    """Equal, but for the rounding of sums that were added in another order."""
    exact = (a.count, a.min, a.max, a.buckets) == (b.count, b.min, b.max, b.buckets)
    return exact and math.isclose(a.sum, b.sum, rel_tol=1e-12)


@given(st.lists(values, min_size=1, max_size=200), quantiles)
def test_a_quantile_is_within_one_percent_of_the_exact_one(data: list[float], q: float) -> None:
    estimate = sketch_of(data).quantile(q)
    exact = sorted(data)[math.floor(q * (len(data) - 1))]
    assert estimate == pytest.approx(exact, rel=ACCURACY + 1e-9)


@given(st.lists(values, min_size=1))
def test_count_sum_min_max_and_mean_are_exact(data: list[float]) -> None:
    sketch = sketch_of(data)
    assert (sketch.count, sketch.min, sketch.max) == (len(data), min(data), max(data))
    assert sketch.sum == pytest.approx(math.fsum(data))
    assert sketch.mean == pytest.approx(math.fsum(data) / len(data))
    assert sketch.quantile(0) == pytest.approx(min(data), rel=ACCURACY + 1e-9)


@given(batches, batches)
def test_merging_is_the_same_as_adding_all(a: list[float], b: list[float]) -> None:
    assert same(merged(sketch_of(a), sketch_of(b)), sketch_of(a + b))


@given(batches, batches, batches)
def test_the_order_of_merging_means_nothing(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = sketch_of(a), sketch_of(b), sketch_of(c)
    assert same(merged(merged(x, y), z), merged(x, merged(y, z)))
    assert same(merged(x, y), merged(y, x))


@given(batches, batches)
def test_merging_leaves_the_other_as_it_was(a: list[float], b: list[float]) -> None:
    other = sketch_of(b)
    total = merged(sketch_of(a), other)
    total.add(1.0)
    assert other == sketch_of(b)


@given(batches)
def test_a_sketch_survives_json(data: list[float]) -> None:
    sketch = sketch_of(data)
    assert codec.decode(codec.encode(sketch), Sketch) == sketch


@given(values)
def test_a_value_lies_in_its_bucket(value: float) -> None:
    index = bucket(value)
    assert GAMMA ** (index - 1) * (1 - 1e-12) < value <= GAMMA**index * (1 + 1e-12)


def test_an_empty_sketch_has_no_quantile_and_no_mean() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().mean is None


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-9])
def test_zero_and_less_are_counted(value: float) -> None:
    sketch = sketch_of([value, value, 10.0])
    assert bucket(value) == LOWEST
    assert sketch.quantile(0) == max(0.0, value)
    assert (sketch.count, sketch.min) == (3, value)
    assert sketch_of([value]).quantile(0.5) == value


def test_the_size_is_bounded_whatever_comes() -> None:
    sketch = sketch_of([10.0**e for e in range(-300, 300)])
    assert all(LOWEST <= index <= HIGHEST for index in sketch.buckets)
    assert (sketch.min, sketch.max) == (1e-300, 1e299)


def test_the_bucket_layout_is_wire_format() -> None:
    """Recorded sketches hold these numbers; a change here makes them unreadable."""
    assert [bucket(v) for v in (0.001, 1, 10, 100, 1500, 60_000, 1e12)] == [-345, 0, 116, 231, 366, 551, 1382]


@given(st.lists(st.floats(-1, 1e13) | st.sampled_from([1.0, 1.02, 5.0]), max_size=60))
def test_packed_and_read_again_it_is_the_same(found: list[float]) -> None:
    sketch = Sketch()
    for value in found:
        sketch.add(value)
    packed = codec.encode(sketch.packed())
    assert codec.decode(packed, Sketch) == sketch
    assert b"buckets" not in packed
