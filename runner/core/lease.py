"""When a session's lease is to be renewed, and when it is lost. No clock of its own."""

from __future__ import annotations

import math
from typing import Literal

#: Without a confirmation for this share of the lease the session is given up: well before another runner can
#: have it.
LOST_SHARE = 0.7
RENEW_SHARE = 1 / 3
#: A renewal that nobody confirmed is asked for again after this share.
AGAIN_SHARE = 1 / 9
#: What was in transit when a process woke arrives within this time, s.
SETTLING = 1.0

Decision = Literal["hold", "renew", "lost"]


class Lease:
    """The lease of one delivery. Mutable; once lost it stays lost: whatever the broker confirms later may be
    the lease of the runner that has the session now.

    `length` and times in seconds; `since` is the earliest moment at which the broker may have counted from.
    """

    __slots__ = ("asked", "confirmed", "length", "lost")

    def __init__(self, length: float, since: float) -> None:
        self.length = length
        self.confirmed = since
        self.asked = since
        self.lost = False

    def decide(self, now: float) -> Decision:
        if self.lost or now - self.confirmed >= LOST_SHARE * self.length:
            self.lost = True
            return "lost"
        share = RENEW_SHARE if self.asked <= self.confirmed else AGAIN_SHARE
        return "renew" if now - self.asked >= share * self.length else "hold"

    def ask(self, now: float) -> None:
        """A renewal is sent."""
        self.asked = now

    def confirm(self, asked: float) -> None:
        """The renewal that was sent at `asked` is confirmed: the lease runs from there, not from now."""
        if not self.lost:
            self.confirmed = max(self.confirmed, asked)


class Wakefulness:
    """Knows when the process slept (stopped, suspended), from a beat every `interval` seconds.

    What is read just after sleep may have been sent long before: its lease may be gone already.
    """

    def __init__(self, interval: float, now: float) -> None:
        self._limit = 2 * interval + 0.2
        self._last = now
        self._asleep = (-math.inf, -math.inf)

    def beat(self, now: float) -> None:
        if now - self._last > self._limit:
            self._asleep = (self._last, now)
        self._last = now

    def sent_after(self, now: float) -> float:
        """What is read now was sent after this moment."""
        if now - self._last > self._limit:
            return self._last
        fell_asleep, woke = self._asleep
        return fell_asleep if now - woke < SETTLING else self._last
