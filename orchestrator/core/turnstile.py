"""Lets so many messages a second of each sender through: one that floods takes no time from others. Pure."""

from __future__ import annotations

#: Senders that are counted apart; the table begins anew then.
MAX_SENDERS = 100_000


class Turnstile:
    """`refused` counts what was not let through."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._seen: dict[str, int] = {}
        self.refused = 0

    def lets(self, sender: str, now: float) -> bool:
        """Whether this message is among the first `most` of the sender in this second."""
        second = int(now)
        if second != self._second or len(self._seen) > MAX_SENDERS:
            self._second = second
            self._seen.clear()
        count = self._seen[sender] = self._seen.get(sender, 0) + 1
        if count <= self._most:
            return True
        self.refused += 1
        return False
