"""A job's rate ceiling, shared out to its sessions: together they never have more than the whole."""

from __future__ import annotations

from collections.abc import Hashable

#: Shares are whole numbers of this part of a request a second, so that they add up exactly.
UNITS = 1_000_000


class RateBudget:
    """Mutable. `ceiling` is in requests a second; a share belongs to a session until it is `released`."""

    def __init__(self, ceiling: float) -> None:
        self.ceiling = max(1, int(ceiling * UNITS))
        self._shares: dict[Hashable, int] = {}
        self._taken = 0

    @property
    def taken(self) -> float:
        """Requests a second that are given away."""
        return self._taken / UNITS

    def share(self, concurrency: int) -> float:
        """What a session gets where `concurrency` run at once."""
        return self._whole(concurrency) / UNITS

    def room(self, concurrency: int) -> int:
        """How many more sessions can have their share, where `concurrency` are expected to run at once."""
        return max(0, self.ceiling - self._taken) // self._whole(concurrency)

    def take(self, session: Hashable, concurrency: int, at_most: float | None = None) -> float | None:
        """Give the session its share, or less where it can use `at_most` so much, requests a second; None if
        too little is left."""
        if session in self._shares:
            return self._shares[session] / UNITS
        share = self._whole(concurrency)
        if at_most is not None:
            share = max(1, min(share, round(at_most * UNITS)))
        if self._taken + share > self.ceiling:
            return None
        self._enter(session, share)
        return share / UNITS

    def recover(self, session: Hashable, rate: float) -> None:
        """The session has this share already: another conductor gave it."""
        self.release(session)
        self._enter(session, round(rate * UNITS))

    def release(self, session: Hashable) -> None:
        self._taken -= self._shares.pop(session, 0)

    def _enter(self, session: Hashable, share: int) -> None:
        self._shares[session] = share
        self._taken += share

    def _whole(self, concurrency: int) -> int:
        return max(1, self.ceiling // max(1, concurrency))
