"""Refusals in great number are one entry; what was done is always one of its own."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.audit_flood import EACH, MAX_KINDS, SPAN, AuditFlood
from orchestrator.core.audit_note import AuditNote

refused = AuditNote(action="login", result="refused", address="192.0.2.1")


def test_the_first_refusals_are_noted_each_and_the_rest_as_one() -> None:
    flood = AuditFlood()
    assert [flood.pass_on(refused, n / 10) for n in range(100)] == [True] * EACH + [False] * (100 - EACH)
    assert flood.due(SPAN - 1) == []
    assert flood.due(SPAN) == [msgspec.structs.replace(refused, times=100 - EACH)]
    assert flood.pass_on(refused, SPAN)


def test_what_was_done_or_failed_is_never_held_back() -> None:
    flood = AuditFlood()
    for result in ("ok", "failed"):
        note = AuditNote(action="job.submit", result=result)  # type: ignore[arg-type]
        assert all(flood.pass_on(note, 0) for _ in range(10 * EACH))
    assert flood.due(0, everything=True) == []


def test_one_address_does_not_hide_another() -> None:
    flood = AuditFlood()
    for _ in range(10 * EACH):
        flood.pass_on(refused, 0)
    assert flood.pass_on(msgspec.structs.replace(refused, address="192.0.2.2"), 0)
    assert flood.pass_on(msgspec.structs.replace(refused, action="job.submit"), 0)


def test_addresses_without_end_are_one() -> None:
    flood = AuditFlood()
    passed = sum(
        flood.pass_on(msgspec.structs.replace(refused, address=f"a{n}"), 0) for n in range(3 * MAX_KINDS)
    )
    assert passed == MAX_KINDS + EACH
    [rest] = flood.due(SPAN)
    assert (rest.address, rest.times) == ("many", 2 * MAX_KINDS - EACH)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=200))
def test_each_refusal_is_counted_once(said: list[tuple[int, float]]) -> None:
    flood, now, counted = AuditFlood(), 0.0, 0
    for who, pause in said:
        now += pause
        counted += flood.pass_on(msgspec.structs.replace(refused, address=str(who)), now)
        counted += sum(n.times for n in flood.due(now))
    counted += sum(n.times for n in flood.due(now, everything=True))
    assert counted == len(said)
