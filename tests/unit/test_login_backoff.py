"""Guessing passwords becomes slower and slower, and nobody is kept out for ever by somebody else."""

from __future__ import annotations

from orchestrator.core.login_backoff import LoginBackoff


def test_five_a_minute_then_longer_and_longer() -> None:
    backoff = LoginBackoff(5)
    now, waits = 1000.0, []
    for _ in range(6):
        tries = 0
        while not (wait := backoff.attempt("anna", now)):
            tries += 1
        assert tries == 5
        waits.append(wait)
        now += wait
    assert waits == [60, 120, 240, 480, 900, 900]


def test_attempts_while_blocked_do_not_prolong_the_block() -> None:
    backoff = LoginBackoff(1)
    backoff.attempt("anna", 0.0)
    assert backoff.attempt("anna", 1.0) == 60
    assert [backoff.attempt("anna", t) for t in (1.0, 30.0, 60.0)] == [60, 31, 1]
    assert backoff.attempt("anna", 61.0) == 0


def test_a_slow_typist_is_never_blocked() -> None:
    backoff = LoginBackoff(5)
    assert all(backoff.attempt("anna", n * 15.0) == 0 for n in range(100))


def test_what_was_right_does_not_count() -> None:
    backoff = LoginBackoff(5)
    for _ in range(50):
        assert backoff.attempt("10.0.0.1", 0.0) == 0
        backoff.refund("10.0.0.1")
    for _ in range(5):
        backoff.attempt("anna", 0.0)
    backoff.forget("anna")
    assert backoff.attempt("anna", 0.0) == 0


def test_after_a_long_quiet_time_all_is_as_new() -> None:
    backoff = LoginBackoff(1)
    now = 0.0
    for _ in range(4):
        backoff.attempt("anna", now)
        now += backoff.attempt("anna", now)
    assert backoff.attempt("anna", now + 901) == 0
    assert backoff.attempt("anna", now + 901) == 60


def test_the_table_is_bounded() -> None:
    backoff = LoginBackoff(5, size=100)
    for n in range(1_000):
        backoff.attempt(str(n), 0.0)
    assert len(backoff) == 100
