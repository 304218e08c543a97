"""Shares of a rate ceiling: together never more than the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.core.rate_budget import UNITS, RateBudget

sessions = st.integers(1, 30)


class Budget(RuleBasedStateMachine):
    """Sessions come and go, and the expected concurrency changes as runners do."""

    @initialize(ceiling=st.floats(0.001, 1_000_000))
    def begin(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self.budget = RateBudget(ceiling)
        self.held: dict[int, float] = {}

    @rule(session=sessions, at_once=st.integers(0, 10_000))
    def begins(self, session: int, at_once: int) -> None:
        room = self.budget.room(at_once)
        share = self.budget.take(session, at_once)
        if session in self.held:
            assert share == self.held[session]
            return
        assert (share is None) == (room == 0)
        if share is not None:
            assert share == self.budget.share(at_once) > 0
            self.held[session] = share

    @rule(session=sessions)
    def ends(self, session: int) -> None:
        self.budget.release(session)
        self.held.pop(session, None)

    @rule()
    def another_conductor_takes_over(self) -> None:
        self.budget = RateBudget(self.ceiling)
        for session, share in self.held.items():
            self.budget.recover(session, share)

    @invariant()
    def the_shares_stay_below_the_ceiling(self) -> None:
        units = sum(round(share * UNITS) for share in self.held.values())
        assert units <= max(1, int(self.ceiling * UNITS))
        assert self.budget.taken == units / UNITS


TestBudget = Budget.TestCase


@given(st.floats(0.01, 10_000), st.integers(1, 1_000))
def test_as_many_as_are_expected_get_a_share_of_the_whole(ceiling: float, at_once: int) -> None:
    budget = RateBudget(ceiling)
    fit = budget.room(at_once)
    assert fit >= min(at_once, int(ceiling * UNITS))
    given_away = [budget.take(s, at_once) for s in range(1, fit + 1)]
    assert None not in given_away
    assert budget.take(fit + 1, at_once) is None
    # What rounding leaves over is next to nothing.
    assert ceiling - budget.taken <= at_once / UNITS + 1 / UNITS
