"""The chain of the audit log: how an entry is tied to the one before, and how that is checked.

Pure: entries come as the bytes that are stored. What is shown by a chain that holds: between its first and
its last entry nothing was left out, changed, added or put elsewhere. What it cannot show: that entries were
cut off at its end, or that all from some entry on was made anew by somebody who may write to the stream. Both
show against a head that was noted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import msgspec

from broker_config import codec
from broker_config.api import ChainBreak, ChainReport
from broker_config.errors import MessageError
from broker_config.messages import AuditEntry
from broker_config.messages.audit_entry import NO_ENTRY, canonical, hash_of

from .audit_note import AuditNote

#: Breaks that are told one by one.
MAX_BREAKS = 100
#: What a note may bring along of a text, characters: paths, addresses and words of others.
_MAX_TEXT = 200
_MAX_DETAIL = 500


class Head(NamedTuple):
    """The newest entry of a chain: what the next one is tied to."""

    number: int = 0
    hash: str = NO_ENTRY


def link(note: AuditNote, head: Head, *, at: float, by: str) -> tuple[bytes, Head]:
    """The entry that follows `head`, as it is stored, and the head that it is itself."""
    fields: dict[str, Any] = {
        key: _text(value) if isinstance(value, str) else value
        for key, value in msgspec.structs.asdict(note).items()
    }
    fields["detail"] = _text(note.detail, _MAX_DETAIL)
    fields |= {"number": head.number + 1, "at": round(at, 3), "by": _text(by), "previous": head.hash}
    fields["hash"] = hash_of(fields)
    return canonical(fields), Head(head.number + 1, fields["hash"])


def head_of(number: int, stored: bytes) -> Head:
    """What the entry after this one is tied to. Of what is no sound entry, the hash of all its bytes."""
    return _head(number, stored, _parse(stored))


def entry_of(stored: bytes) -> AuditEntry | None:
    """The entry, for people to look at, whether its hash is right or not; None if it is not one."""
    try:
        return codec.decode(stored, AuditEntry)
    except MessageError:
        return None


class ChainCheck:
    """Takes the entries in the order in which they are stored, from the first one on."""

    def __init__(self, noted: str = "") -> None:
        """`noted` is the hash of an entry that has to be there."""
        self._noted = noted.strip().lower()
        self._noted_at: int | None = None
        self._head = Head()
        self._entries = 0
        self._breaks: list[ChainBreak] = []
        self._broken = False

    def take(self, stored: bytes, number: int | None = None, *, is_foreign: bool = False) -> None:
        """`number` is the place at which it is stored; without one it is what the entry says of itself.
        `is_foreign` if it stands under a subject where no entries are."""
        self._entries += 1
        next_one = self._head.number + 1
        parsed = _parse(stored)
        place = _number(parsed, next_one) if number is None else number
        if place > next_one:
            self._break(next_one, _missing(next_one, place - 1))
        elif place < next_one:
            self._break(place, f"stands after entry {self._head.number}")
        wrong = self._wrong(stored, parsed, place, follows=place == next_one)
        if is_foreign:
            wrong = "is no entry: it stands under another subject"
        if wrong:
            self._break(place, wrong)
        self._head = _head(place, stored, parsed)
        if self._head.hash == self._noted:
            self._noted_at = self._entries

    def report(self) -> ChainReport:
        breaks = list(self._breaks)
        broken = self._broken
        if self._noted and self._noted_at is None:
            broken = True
            what = "the head that was noted is not in it: it was cut off there, or made anew"
            breaks.append(ChainBreak(number=self._head.number, what=what))
        return ChainReport(
            holds=not broken,
            entries=self._entries,
            head=self._head.hash,
            breaks=breaks,
            after_noted=self._entries - self._noted_at if self._noted_at is not None else None,
        )

    def _wrong(self, stored: bytes, parsed: _Parsed, place: int, *, follows: bool) -> str:
        """What is wrong with the entry; empty if nothing is."""
        fields = parsed.fields
        if fields is None or entry_of(stored) is None:
            return "is no entry: it cannot be read"
        if not parsed.hash:
            return "is not written as entries are"
        if fields.get("hash") != parsed.hash:
            return "was changed: its hash is another"
        if fields["number"] != place:
            return f"says that it is entry {fields['number']}"
        if follows and fields.get("previous") != self._head.hash:
            return "does not follow the one before: the hash that it names is another"
        return ""

    def _break(self, number: int, what: str) -> None:
        self._broken = True
        if len(self._breaks) < MAX_BREAKS:
            self._breaks.append(ChainBreak(number=number, what=what))


class _Parsed(NamedTuple):
    """What stands in an entry; `hash` is what its own should be, empty where its form is not canonical."""

    fields: dict[str, Any] | None = None
    hash: str = ""


def _parse(stored: bytes) -> _Parsed:
    try:
        fields = json.loads(stored)
        if not isinstance(fields, dict):
            return _Parsed()
        return _Parsed(fields, hash_of(fields) if canonical(fields) == stored else "")
    except (ValueError, RecursionError):
        return _Parsed()


def _head(number: int, stored: bytes, parsed: _Parsed) -> Head:
    if parsed.fields is not None and parsed.hash and parsed.fields.get("hash") == parsed.hash:
        return Head(number, parsed.hash)
    return Head(number, hashlib.sha256(stored).hexdigest())


def _number(parsed: _Parsed, otherwise: int) -> int:
    number = parsed.fields.get("number") if parsed.fields is not None else None
    return number if type(number) is int and number > 0 else otherwise


def _missing(first: int, last: int) -> str:
    return "is missing" if first == last else f"and all up to {last} are missing"


def _text(text: str, most: int = _MAX_TEXT) -> str:
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= most else whole[: most - 1] + "…"
