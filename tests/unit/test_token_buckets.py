"""How much may be asked: bursts, refills, and a table that stays small."""

from __future__ import annotations

from orchestrator.core.token_buckets import TokenBuckets, whole_seconds


def test_a_burst_then_the_rate() -> None:
    buckets = TokenBuckets(rate=2, burst=3)
    assert [buckets.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    # Who is refused has lost nothing by it.
    assert buckets.take("a", 100.25) == 0.25
    assert buckets.take("a", 100.5) == 0
    assert [buckets.take("a", 200.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_each_has_their_own() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    assert buckets.take("a", 0.0) == 0
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0


def test_the_table_is_bounded_and_forgets_who_was_quiet() -> None:
    buckets = TokenBuckets(rate=1, burst=1, size=100)
    buckets.take("known", 0.0)
    for n in range(10_000):
        buckets.take(f"other {n}", 0.0)
        assert buckets.take("known", 0.0) > 0
    assert len(buckets) == 100


def test_a_wait_is_never_told_as_none() -> None:
    assert [whole_seconds(w) for w in (0.001, 1.0, 1.2)] == [1, 1, 2]
