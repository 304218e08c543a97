"""The newest states of a job, kept for clients that come back. Bounded in number and bytes. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ITEMS = 64
MAX_BYTES = 256 << 10


class Tail(Generic[T]):
    """Mutable; sequences grow, with gaps that mean nothing."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._items: deque[tuple[int, int, T]] = deque()
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0

    def append(self, seq: int, item: T, size: int) -> None:
        """The newest one always stays, whatever its `size` in bytes."""
        self._items.append((seq, size, item))
        self._bytes += size
        while len(self._items) > 1 and (len(self._items) > self._max_items or self._bytes > self._max_bytes):
            self._bytes -= self._items.popleft()[1]

    def clear(self) -> None:
        """Something may have been missed: nothing before this moment vouches for what follows."""
        self._items.clear()
        self._bytes = 0

    def after(self, since: int) -> list[T] | None:
        """All items newer than `since`, or None where some of them may not be here any more."""
        if not self._items or not self._items[0][0] - 1 <= since <= self._items[-1][0]:
            return None
        return [item for seq, _, item in self._items if seq > since]
