from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.core.lease import LOST_SHARE, Lease, Wakefulness


def test_renewed_every_third_of_the_lease() -> None:
    lease = Lease(15.0, 100.0)
    assert lease.decide(104.9) == "hold"
    assert lease.decide(105.0) == "renew"
    lease.ask(105.0)
    assert lease.decide(105.1) == "hold"
    lease.confirm(105.0)
    assert lease.decide(109.9) == "hold"
    assert lease.decide(110.0) == "renew"


def test_an_unconfirmed_renewal_is_asked_for_again() -> None:
    lease = Lease(9.0, 0.0)
    lease.ask(3.0)
    assert lease.decide(3.9) == "hold"
    assert lease.decide(4.0) == "renew"


def test_lost_without_confirmation_for_seven_tenths() -> None:
    lease = Lease(10.0, 0.0)
    lease.ask(3.4)
    assert lease.decide(6.99) != "lost"
    assert lease.decide(7.0) == "lost"


def test_a_confirmation_counts_from_the_question() -> None:
    """The answer may have waited in a socket for long."""
    lease = Lease(10.0, 0.0)
    lease.ask(4.0)
    lease.confirm(4.0)
    assert lease.decide(10.9) == "renew"
    assert lease.decide(11.0) == "lost"


def test_lost_is_for_good() -> None:
    lease = Lease(10.0, 0.0)
    assert lease.decide(8.0) == "lost"
    lease.confirm(7.9)
    assert lease.decide(8.1) == "lost"


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=40))
def test_never_held_without_a_fresh_confirmation(steps: list[tuple[float, bool]]) -> None:
    lease, now, fresh = Lease(10.0, 0.0), 0.0, 0.0
    for pause, confirmed in steps:
        now += pause
        decision = lease.decide(now)
        if now - fresh >= LOST_SHARE * 10.0:
            assert decision == "lost"
        if decision == "lost":
            assert lease.decide(now) == "lost"
            return
        if decision == "renew":
            lease.ask(now)
            if confirmed:
                lease.confirm(now)
                fresh = now


def test_what_is_read_while_awake_was_sent_a_moment_ago() -> None:
    awake = Wakefulness(0.25, 0.0)
    awake.beat(0.25)
    assert awake.sent_after(0.4) == 0.25


def test_what_is_read_after_sleep_may_be_as_old_as_the_sleep() -> None:
    awake = Wakefulness(0.25, 0.0)
    awake.beat(0.25)
    assert awake.sent_after(20.0) == 0.25, "woken, before the first beat"
    awake.beat(20.0)
    awake.beat(20.25)
    assert awake.sent_after(20.3) == 0.25, "its socket may still hold what came before"
    for beat in (20.75, 21.25, 21.4):
        awake.beat(beat)
    assert awake.sent_after(21.5) == 21.4
