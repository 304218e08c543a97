from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker_config.target_proof import Target
from orchestrator.core.ceilings import Ceilings

A, B = "https://a.example", "https://b.example"
TARGET = Target(origin=A, project="p", token="t", state="verified", sessions=3, rate=6.0)


def held(ceilings: Ceilings, *targets: Target) -> Ceilings:
    ceilings.set(targets)
    return ceilings


def test_sessions_at_once_are_those_of_all_jobs() -> None:
    c = held(Ceilings(), msgspec.structs.replace(TARGET, rate=None))
    both = frozenset({A, B})
    assert (c.room("p", frozenset({B})), c.room("p", both)) == (None, 3)
    c.enter("j1", 1, "p", both, None)
    c.enter("j2", 1, "q", frozenset({A}), None)
    c.enter("j2", 1, "q", frozenset({A}), None)
    c.enter("j3", 1, "q", frozenset({B}), None)
    assert c.room("p", both) == 1
    c.release("j1", 1)
    c.forget("j2")
    assert c.room("p", both) == 3


def test_rates_are_shared_by_all_that_may_run() -> None:
    c = held(Ceilings(), msgspec.structs.replace(TARGET, sessions=None))
    c.expect("j1", "p", frozenset({A}), 2)
    assert c.rate("p", frozenset({A})) == 3.0
    c.expect("j2", "q", frozenset({A}), 4)
    assert c.rate("q", frozenset({A})) == 1.0
    c.expect("j3", "q", frozenset({B}), 400)
    assert (c.rate("q", frozenset({A})), c.rate("q", frozenset({B}))) == (1.0, None)
    c.forget("j2")
    assert c.rate("p", frozenset({A})) == 3.0


def test_a_name_without_proof_slows_nobody_else_down() -> None:
    c = held(Ceilings(), msgspec.structs.replace(TARGET, state="pending", sessions=1))
    assert (c.room("p", frozenset({A})), c.room("q", frozenset({A}))) == (1, None)


def test_a_new_ceiling_counts_what_runs_already() -> None:
    c = Ceilings()
    for n in range(5):
        c.enter("j", n, "p", frozenset({A}), 2.0)
    c.expect("j", "p", frozenset({A}), 3)
    assert not c.active
    assert c.room("p", frozenset({A})) is None
    held(c, TARGET)
    assert c.room("p", frozenset({A})) == 0
    for n in range(3):
        c.release("j", n)
    assert c.room("p", frozenset({A})) == 1


class Machine(RuleBasedStateMachine):
    """Whatever comes and goes, the ceiling holds."""

    def __init__(self) -> None:
        super().__init__()
        self.c = held(Ceilings(), TARGET)
        self.inside: dict[tuple[str, int], float] = {}

    @rule(job=st.sampled_from(["j1", "j2", "j3"]), session=st.integers(1, 9), wanted=st.integers(1, 50))
    def begin(self, job: str, session: int, wanted: int) -> None:
        self.c.expect(job, "p", frozenset({A}), wanted)
        if (job, session) in self.inside or not self.c.room("p", frozenset({A})):
            return
        rate = self.c.rate("p", frozenset({A}))
        assert rate
        self.c.enter(job, session, "p", frozenset({A}), rate)
        self.inside[job, session] = rate

    @rule(job=st.sampled_from(["j1", "j2", "j3"]), session=st.integers(1, 9))
    def end(self, job: str, session: int) -> None:
        self.c.release(job, session)
        self.inside.pop((job, session), None)

    @rule(job=st.sampled_from(["j1", "j2", "j3"]))
    def forget(self, job: str) -> None:
        self.c.forget(job)
        self.inside = {k: r for k, r in self.inside.items() if k[0] != job}

    @rule()
    def hear_again(self) -> None:
        self.c.set([TARGET])

    @invariant()
    def holds(self) -> None:
        assert len(self.inside) <= 3
        assert sum(self.inside.values()) <= 6.0 + 1e-6


TestCeilings = Machine.TestCase
TestCeilings.settings = settings(max_examples=60, stateful_step_count=30)
