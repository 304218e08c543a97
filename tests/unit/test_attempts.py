from __future__ import annotations

import pytest

from orchestrator.core.attempts import POISON_AFTER, lost, poison, poisonous


@pytest.mark.parametrize(
    ("holders", "dead", "expected"),
    [
        (set(), set(), False),
        ({"a/1", "a/2"}, {"a/1", "a/2"}, False),  # too few
        ({"a/1", "a/2", "a/3"}, {"a/1", "a/2", "a/3"}, True),  # one runner, started again and again
        ({"a/1", "b/1", "c/1"}, {"a/1", "b/1", "c/1"}, True),
        ({"a/1", "b/1", "c/1"}, {"a/1", "b/1"}, False),  # one is alive
        ({"a/1", "b/1", "c/1", "d/1"}, {"a/1", "b/1", "c/1"}, False),
    ],
)
def test_poison_is_what_every_one_of_enough_processes_died_with(
    holders: set[str], dead: set[str], expected: bool
) -> None:
    assert POISON_AFTER == 3
    assert poisonous(holders, lambda runner, instance: f"{runner}/{instance}" in dead) is expected


def test_poison_is_a_failure_that_names_who_died() -> None:
    status, error = poison({f"r{i}/1" for i in range(9)})
    assert (status, error.kind, error.infrastructure) == ("failed", "poison", True)
    assert error.detail == "9 runner processes died with this session: r0/1, r1/1, r2/1, r3/1, r4/1"


def test_lost_says_after_how_many_attempts() -> None:
    status, error = lost(12)
    assert (status, error.kind, error.infrastructure) == ("lost", "lost", True)
    assert "12 attempts" in error.detail
