"""Sessions that wait to be sent. No I/O."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple


class ToSend(NamedTuple):
    session: int
    attempt: int


class Line:
    """Those of one platform, the next first: what was put back, then the plan's, of which `gone` says which
    are under way or have ended."""

    def __init__(self, planned: array[int], gone: Callable[[int], bool]) -> None:
        self._again: deque[ToSend] = deque()
        self._planned = planned
        self._next = 0
        self._gone = gone
        #: Sessions that were taken or held out of turn: they are not the plan's to send any more.
        self._out_of_turn: set[int] = set()

    def __len__(self) -> int:
        """How many there are at most."""
        return len(self._again) + len(self._planned) - self._next

    def __iter__(self) -> Iterator[ToSend]:
        self._trim()
        yield from (item for item in self._again if not self._gone(item.session))
        for i in range(self._next, len(self._planned)):
            session = self._planned[i]
            if not self._skips(session):
                yield ToSend(session, 1)

    def first(self) -> ToSend | None:
        return next(iter(self), None)

    def pop(self) -> ToSend | None:
        """Take the next one out."""
        self._trim()
        if self._again:
            return self._again.popleft()
        if self._next == len(self._planned):
            return None
        self._next += 1
        return ToSend(self._planned[self._next - 1], 1)

    def put_back(self, item: ToSend) -> None:
        """It is the next one."""
        self._out_of_turn.add(item.session)
        self._again.appendleft(item)

    def remove(self, session: int) -> None:
        self._out_of_turn.add(session)
        if any(item.session == session for item in self._again):
            self._again = deque(item for item in self._again if item.session != session)

    def take_out(self, wanted: Callable[[ToSend], bool]) -> list[ToSend]:
        """All that are wanted; the rest stays."""
        out: list[ToSend] = []
        stay: list[ToSend] = []
        for item in self:
            (out if wanted(item) else stay).append(item)
        self._next = len(self._planned)
        self._again = deque(stay)
        return out

    def _trim(self) -> None:
        while self._again and self._gone(self._again[0].session):
            self._again.popleft()
        while self._next < len(self._planned) and self._skips(self._planned[self._next]):
            self._next += 1

    def _skips(self, session: int) -> bool:
        return session in self._out_of_turn or self._gone(session)
