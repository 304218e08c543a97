"""What a job would send now, if it were alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from .waiting import ToSend


class Chosen(NamedTuple):
    items: dict[str, deque[ToSend]]
    more: set[str]


class Offer:
    """A queue of the window, for one round. `chosen` are its sessions by lane, in order, and the lanes that
    have too little room for it."""

    def __init__(self, id: str, priority: int, chosen: Chosen) -> None:
        self.id = id
        self.priority = priority
        self._items, self._more = chosen

    @property
    def room(self) -> int:
        return sum(map(self.waiting, self._items))

    def waiting(self, lane: str) -> int:
        return len(self._items.get(lane, ())) + (lane in self._more)

    def take(self, lane: str, n: int) -> list[ToSend]:
        """Its next `n` sessions for the lane."""
        items = self._items[lane]
        return [items.popleft() for _ in range(n)]


def choose(
    lines: Iterable[tuple[str, Iterable[ToSend]]],
    free: Mapping[str, int],
    most: int,
    ready: Callable[[int], bool],
) -> Chosen:
    """Of lines, each with the lane that takes it, the first `most` sessions by their numbers: so the plan's
    shares hold whatever the lanes have room for. A lane with nothing free is passed over; a line ends at the
    first session that is not ready."""
    heads: list[tuple[int, int, ToSend, str, Iterator[ToSend]]] = []
    for n, (lane, line) in enumerate(lines):
        rest = iter(line)
        for item in rest:
            heads.append((item.session, n, item, lane, rest))
            break
    heapify(heads)
    out = Chosen({}, set())
    while heads and most > 0:
        session, n, item, lane, rest = heads[0]
        if not free.get(lane) or not ready(session):
            heappop(heads)
            continue
        items = out.items.setdefault(lane, deque())
        if len(items) >= free[lane]:
            out.more.add(lane)
            heappop(heads)
            continue
        items.append(item)
        most -= 1
        following = next(rest, None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following.session, n, following, lane, rest))
    return out
