"""The chain of the audit log: whatever is done to entries between the first and the last is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker_config.api import ChainReport
from broker_config.audit_actions import ACTIONS
from broker_config.messages import AuditEntry
from broker_config.messages.audit_entry import NO_ENTRY, canonical, hash_of
from orchestrator.core.audit_chain import MAX_BREAKS, ChainCheck, Head, entry_of, head_of, link
from orchestrator.core.audit_note import AuditNote

anything = st.text(st.characters(codec=None), max_size=30)
notes = st.builds(
    AuditNote,
    action=st.sampled_from(sorted(ACTIONS)),
    result=st.sampled_from(["ok", "refused", "failed"]),
    actor=anything,
    address=anything,
    object=anything,
    detail=anything,
    times=st.integers(1, 5),
)


def chain(said: Sequence[AuditNote]) -> list[bytes]:
    head, out = Head(), []
    for n, note in enumerate(said):
        data, head = link(note, head, at=1_764_000_000 + n / 7, by="one")
        out.append(data)
    return out


def checked(entries: Sequence[bytes], noted: str = "", *, placed: bool = False) -> ChainReport:
    """As an exported file; `placed` as a stream, in which each has its place."""
    check = ChainCheck(noted)
    for n, data in enumerate(entries, 1):
        check.take(data, n if placed else None)
    return check.report()


chains = st.lists(notes, min_size=3, max_size=8).map(chain)
placed = pytest.mark.parametrize("placed", [False, True])


@placed
@given(entries=chains)
def test_a_chain_holds(entries: list[bytes], placed: bool) -> None:
    report = checked(entries, placed=placed)
    assert (report.holds, report.entries, report.breaks) == (True, len(entries), [])
    assert report.head == json.loads(entries[-1])["hash"]


def test_nothing_is_a_chain() -> None:
    report = checked([])
    assert (report.holds, report.entries, report.head) == (True, 0, NO_ENTRY)


@given(chains)
def test_plain_json_and_hashlib_are_enough(entries: list[bytes]) -> None:
    """The recipe of docs/audit.md."""
    before = "0" * 64
    for line in entries:
        entry = json.loads(line)
        said = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert entry["previous"] == before
        assert said == hashlib.sha256(text.encode()).hexdigest()
        before = said


@placed
@given(entries=chains, data=st.data())
def test_a_dropped_entry_is_found(entries: list[bytes], data: st.DataObject, placed: bool) -> None:
    gone = data.draw(st.integers(0, len(entries) - 2))
    report = checked(entries[:gone] + entries[gone + 1 :], placed=placed)
    assert not report.holds
    assert report.breaks[0].number == gone + 1


@given(chains, st.data())
def test_several_dropped_in_the_middle_are_found(entries: list[bytes], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(entries) - 2))
    last = data.draw(st.integers(first, len(entries) - 2))
    report = checked(entries[:first] + entries[last + 1 :])
    assert [b.number for b in report.breaks] == [first + 1]
    assert "missing" in report.breaks[0].what


@placed
@given(entries=chains, data=st.data())
def test_any_changed_byte_is_found(entries: list[bytes], data: st.DataObject, placed: bool) -> None:
    n = data.draw(st.integers(0, len(entries) - 1))
    changed = bytearray(entries[n])
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] = data.draw(st.integers(0, 255).filter(lambda b: b != changed[at]))
    report = checked([*entries[:n], bytes(changed), *entries[n + 1 :]], placed=placed)
    assert not report.holds


@given(chains, st.data(), anything)
def test_a_changed_entry_with_its_own_hash_put_right_is_found_by_the_next(
    entries: list[bytes], data: st.DataObject, other: str
) -> None:
    n = data.draw(st.integers(0, len(entries) - 2))
    fields = json.loads(entries[n])
    other = other.encode("utf-8", "backslashreplace").decode()
    assume(fields["actor"] != other)
    fields["actor"] = other
    fields["hash"] = hash_of(fields)
    report = checked([*entries[:n], canonical(fields), *entries[n + 1 :]])
    assert [b.number for b in report.breaks] == [n + 2]


@placed
@given(entries=chains, data=st.data())
def test_two_that_changed_places_are_found(entries: list[bytes], data: st.DataObject, placed: bool) -> None:
    a = data.draw(st.integers(0, len(entries) - 2))
    b = data.draw(st.integers(a + 1, len(entries) - 1))
    entries[a], entries[b] = entries[b], entries[a]
    assert not checked(entries, placed=placed).holds


@placed
@given(entries=chains, note=notes, data=st.data())
def test_an_inserted_entry_is_found(
    entries: list[bytes], note: AuditNote, data: st.DataObject, placed: bool
) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    # As well forged as it can be: it follows the one before.
    before = head_of(at, entries[at - 1]) if at else Head()
    forged, _ = link(note, before, at=1_764_000_000.5, by="nobody")
    assert not checked([*entries[:at], forged, *entries[at:]], placed=placed).holds


@given(chains, st.binary(max_size=60))
def test_what_is_no_entry_is_found_and_the_chain_goes_on_behind_it(entries: list[bytes], junk: bytes) -> None:
    behind, _ = link(AuditNote(action="login"), head_of(len(entries) + 1, junk), at=1.0, by="one")
    report = checked([*entries, junk, behind], placed=True)
    assert [b.number for b in report.breaks] == [len(entries) + 1]
    assert "cannot be read" in report.breaks[0].what


def test_what_stands_under_another_subject_is_found() -> None:
    entries = chain([AuditNote(action="login")] * 2)
    check = ChainCheck()
    check.take(entries[0], 1)
    check.take(entries[1], 2, is_foreign=True)
    assert [(b.number, "another subject" in b.what) for b in check.report().breaks] == [(2, True)]


@given(chains, st.data())
def test_only_a_noted_head_shows_that_the_end_was_cut_off(entries: list[bytes], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(entries) - 1))
    noted = json.loads(entries[-1])["hash"]
    assert checked(entries[:kept]).holds
    cut = checked(entries[:kept], noted)
    assert not cut.holds
    assert "cut off" in cut.breaks[-1].what


@given(chains, st.data())
def test_a_noted_head_may_lie_behind(entries: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    report = checked(entries, json.loads(entries[at])["hash"].upper())
    assert (report.holds, report.after_noted) == (True, len(entries) - 1 - at)


@given(chains, chains)
def test_a_chain_that_was_made_anew_shows_against_a_noted_head(old: list[bytes], new: list[bytes]) -> None:
    assume(old[-1] not in new)
    assert checked(new).holds
    assert not checked(new, json.loads(old[-1])["hash"]).holds


@given(notes)
def test_an_entry_says_what_was_noted(note: AuditNote) -> None:
    data, head = link(note, Head(6, "a" * 64), at=1_764_000_000.123456, by="one")
    entry = entry_of(data)
    assert entry is not None
    assert (entry.number, entry.previous, entry.hash) == (7, "a" * 64, head.hash)
    assert (entry.action, entry.result, entry.times, entry.by) == (
        note.action,
        note.result,
        note.times,
        "one",
    )
    assert entry.at == 1_764_000_000.123
    assert set(json.loads(data)) == set(AuditEntry.__struct_fields__)


def test_long_texts_are_cut() -> None:
    data, _ = link(AuditNote(action="login", actor="x" * 5_000, detail="€" * 5_000), Head(), at=1.0, by="one")
    assert len(data) < 4_000
    entry = entry_of(data)
    assert entry is not None
    assert entry.actor.endswith("…")


def test_so_many_breaks_are_told_and_no_more() -> None:
    report = checked([b"junk"] * (MAX_BREAKS + 50), placed=True)
    assert (report.holds, len(report.breaks), report.entries) == (False, MAX_BREAKS, MAX_BREAKS + 50)
