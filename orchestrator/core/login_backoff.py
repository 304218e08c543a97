"""How often someone may try to log in: some attempts at once, then longer and longer waits."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class _Tries(NamedTuple):
    #: In this window.
    made: int
    since: float
    #: How often the bound was reached in a row, and until when nothing is tried.
    strikes: int = 0
    blocked_until: float = 0.0


class LoginBackoff:
    """By key (a user's name, an address) `attempts` a `window`; who uses them up waits `window` seconds, then
    twice as long after each further window that is used up, up to `longest`. Attempts while blocked change
    nothing: nobody can keep another one out for ever. `now` is in seconds of any one clock; of more than
    `size` keys the one that was quiet for longest is forgotten."""

    def __init__(
        self, attempts: int, *, window: float = 60.0, longest: float = 900.0, size: int = 20_000
    ) -> None:
        self._attempts = attempts
        self._window = window
        self._longest = longest
        self._size = size
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tries)

    def attempt(self, key: str, now: float) -> float:
        """Count an attempt. 0 if it may be made; else the seconds until one may."""
        tries = self._tries.pop(key, None) or _Tries(0, now)
        if tries.blocked_until <= now:
            tries = self._counted(tries, now)
        self._tries[key] = tries
        while len(self._tries) > self._size:
            self._tries.popitem(last=False)
        return max(0.0, tries.blocked_until - now)

    def refund(self, key: str) -> None:
        """The attempt was a right one, and does not count."""
        if (tries := self._tries.get(key)) is not None:
            self._tries[key] = tries._replace(made=max(0, tries.made - 1))

    def forget(self, key: str) -> None:
        """Start anew."""
        self._tries.pop(key, None)

    def _counted(self, was: _Tries, now: float) -> _Tries:
        if now - max(was.since, was.blocked_until) > self._longest:
            return _Tries(1, now)
        if now - was.since >= self._window:
            return was._replace(made=1, since=now)
        if was.made < self._attempts:
            return was._replace(made=was.made + 1)
        block = min(self._longest, self._window * 2**was.strikes)
        # What comes when the block is over begins a window of its own.
        return _Tries(0, now + block, was.strikes + 1, now + block)
