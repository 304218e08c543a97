"""Refusals in great number: the first ones are noted each, the rest of five minutes as one entry.

Whoever may not do a thing can try it as often as the network bears; the log must not be filled that way.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from .audit_note import AuditNote

#: So many of one kind, by one, from one address are noted each in a span, s.
EACH = 20
SPAN = 300.0
#: Kinds that are told apart; those beyond are one.
MAX_KINDS = 1_000


@dataclass
class _Kind:
    since: float
    seen: int = 0
    #: The last of those that are only counted.
    last: AuditNote | None = None
    held: int = 0


class AuditFlood:
    """Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], _Kind] = {}

    def pass_on(self, note: AuditNote, now: float) -> bool:
        """Whether it is to be noted by itself. What is not comes out of `due`."""
        if note.result != "refused":
            return True
        key = (note.actor, note.address, note.action)
        if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
            key = ("", "", note.action)
            note = msgspec.structs.replace(note, actor="", kind="", credential="", address="many", object="")
        kind = self._kinds.setdefault(key, _Kind(since=now))
        kind.seen += 1
        if kind.seen <= EACH:
            return True
        kind.last = note
        kind.held += note.times
        return False

    def due(self, now: float, *, everything: bool = False) -> list[AuditNote]:
        """One note for each kind that was held back, whose span is over."""
        over = [k for k, kind in self._kinds.items() if everything or now - kind.since >= SPAN]
        out = []
        for key in over:
            kind = self._kinds.pop(key)
            if kind.last is not None:
                out.append(msgspec.structs.replace(kind.last, times=kind.held))
        return out
