from __future__ import annotations

from broker_config.log_limit import LogLimit
from orchestrator.core.turnstile import Turnstile


def test_one_that_floods_takes_nothing_from_the_others() -> None:
    turnstile = Turnstile(3)
    assert [turnstile.lets("bad", 1.0) for _ in range(5)] == [True, True, True, False, False]
    assert turnstile.lets("good", 1.9)
    assert turnstile.refused == 2
    assert turnstile.lets("bad", 2.0)


def test_a_log_tells_how_much_it_left_out() -> None:
    now = 0.0
    limit = LogLimit(lambda: now, lines=2, period=10)
    assert [limit.left_out("a") for _ in range(5)] == [0, 0, None, None, None]
    assert limit.left_out("b") == 0
    now = 10.0
    assert [limit.left_out("a") for _ in range(3)] == [3, 0, None]
