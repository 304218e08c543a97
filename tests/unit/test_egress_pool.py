from __future__ import annotations

import pytest

from broker_config.proxy import Proxy
from runner.core.egress_pool import COOL_DOWN, MAX_COOL_DOWN, EgressPool
from runner.core.token_bucket import TokenBucket

A, B, C = (Proxy.parse(f"{name}.example:80") for name in "abc")


def taken(pool: EgressPool, sessions: int, now: float = 0.0) -> str:
    turns = [pool.turn(now) for _ in range(sessions)]
    return "".join(p.host[0] if (p := pool.choose(t, now)) else "-" for t in turns)


def test_each_session_has_the_next() -> None:
    assert taken(EgressPool([A, B, C]), 7) == "abcabca"


def test_a_cycle_of_sessions_shares_one() -> None:
    assert taken(EgressPool([A, B], rotation="cycle", cycle=3), 8) == "aaabbbaa"


def test_an_interval_has_its_own() -> None:
    pool = EgressPool([A, B, C], rotation="interval", interval=10, now=100)
    assert [taken(pool, 1, now) for now in (100, 109, 110, 125, 130)] == ["a", "a", "b", "c", "a"]


def test_random_takes_each_once_a_round_and_is_reproducible() -> None:
    rounds = taken(EgressPool([A, B, C], order="random", seed=7), 30)
    assert all(sorted(rounds[i : i + 3]) == ["a", "b", "c"] for i in range(0, 30, 3))
    assert rounds == taken(EgressPool([A, B, C], order="random", seed=7), 30)
    assert len({rounds[i : i + 3] for i in range(0, 30, 3)}) > 1
    assert rounds != taken(EgressPool([A, B, C], order="random", seed=8), 30)


def test_a_disabled_proxy_is_never_taken() -> None:
    off = Proxy(scheme="http", host="a.example", port=80, enabled=False)
    assert taken(EgressPool([off, B]), 3) == "bbb"


def test_the_next_one_stands_in_for_one_that_is_down() -> None:
    pool = EgressPool([A, B, C])
    assert pool.failed(B, 0.0, "refused") is True
    assert taken(pool, 6) == "accacc"


def test_tried_ones_are_not_taken_again() -> None:
    pool = EgressPool([A, B, C])
    assert pool.choose(0, 0.0, {A}) == B
    assert pool.choose(0, 0.0, {A, B, C}) is None


def test_a_session_stays_where_it_went() -> None:
    pool = EgressPool([A, B])
    assert pool.choose(0, 0.0, (), B) == B
    pool.failed(B, 0.0, "x")
    assert pool.choose(0, 0.0, (), B) == A


def test_none_is_left_when_all_are_down() -> None:
    pool = EgressPool([A, B])
    for proxy in (A, B):
        pool.failed(proxy, 0.0, "x")
    assert pool.choose(0, COOL_DOWN - 0.1) is None
    assert EgressPool([]).choose(0, 0.0) is None


def test_after_the_cool_down_one_connection_tries() -> None:
    pool = EgressPool([A])
    pool.failed(A, 0.0, "x")
    assert pool.choose(0, COOL_DOWN) == A
    assert pool.choose(1, COOL_DOWN) is None, "another finds out already"
    assert pool.worked(A) is True
    assert pool.worked(A) is False, "that is no news"
    assert pool.choose(1, COOL_DOWN) == A


def test_a_vain_try_doubles_the_cool_down() -> None:
    pool, now, pauses = EgressPool([A]), 0.0, []
    assert pool.failed(A, now, "x") is True
    for _ in range(8):
        pause = pool.states[0].again_at - now
        pauses.append(pause)
        now += pause
        assert pool.choose(0, now - 0.01) is None
        assert pool.choose(0, now) == A
        assert pool.failed(A, now, "x") is False, "it was down before"
    assert pauses == [min(MAX_COOL_DOWN, COOL_DOWN * 2**n) for n in range(8)]


def test_failures_of_connections_from_before_change_nothing() -> None:
    pool = EgressPool([A])
    pool.failed(A, 0.0, "x")
    pool.failed(A, 4.0, "x")
    assert pool.choose(0, COOL_DOWN) == A


def test_a_try_that_was_given_up_leaves_it_to_the_next() -> None:
    pool = EgressPool([A])
    pool.failed(A, 0.0, "x")
    assert pool.choose(0, COOL_DOWN) == A
    pool.left(A)
    assert pool.choose(0, COOL_DOWN) == A


def test_a_renewed_pool_keeps_what_it_knows() -> None:
    pool = EgressPool([A, B])
    pool.failed(B, 0.0, "x")
    pool.renew([B, C])
    assert pool.choose(0, 0.0) == C
    assert pool.choose(0, COOL_DOWN) == B
    pool.renew([C])
    assert pool.choose(0, COOL_DOWN, (), A) == C, "who has one that went gets another"
    assert not pool.is_down(B)
    assert [pool.failed(A, 1.0, "x"), pool.worked(B), pool.left(A)] == [False, False, None]
    pool.renew([])
    assert pool.choose(0, 0.0, (), C) is None


def test_a_random_round_follows_the_size_of_the_pool() -> None:
    pool = EgressPool([A, B], order="random", seed=7)
    turns = [pool.turn(0.0) for _ in range(3)]
    assert pool.choose(turns[0], 0.0) in (A, B)
    pool.renew([A, B, C])
    assert {pool.choose(t, 0.0) for t in turns} == {A, B, C}


def test_the_rate_holds_over_time() -> None:
    bucket, now, sent = TokenBucket(10, 0.0), 0.0, []
    for _ in range(100):
        wait = bucket.take(now)
        now += wait
        sent.append(now)
    for first in sent:
        assert sum(first <= t < first + 1 for t in sent) <= 20, "a burst of one second, and that second's"
    assert 8.9 <= sent[-1] <= 9.1


def test_who_comes_later_waits_longer() -> None:
    bucket = TokenBucket(2, 0.0, burst=1)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert bucket.take(10.0) == 0.0


def test_a_rate_that_changes_keeps_what_was_taken() -> None:
    bucket = TokenBucket(4, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [0, 0, 0, 0, 0.25, 0.5]
    bucket.become(8, 0.0)
    assert bucket.take(0.0) == pytest.approx(3 / 8)
    assert bucket.take(1.0) == 0.0
    bucket.become(2, 10.0)  # eight were saved up, two may be kept
    assert [bucket.take(10.0) for _ in range(3)] == [0.0, 0.0, 0.5]


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_is_above_0(rate: float) -> None:
    with pytest.raises(ValueError, match="not above 0"):
        TokenBucket(rate, 0.0)
