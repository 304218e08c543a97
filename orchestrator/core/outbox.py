"""What waits for a client that reads slower than it is written to. No I/O.

Answers wait in order and are never left out. Of each state (a job's progress, the fleet) only the newest
waits. Log lines do not wait at all: they are counted, and the count is told later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Sized)


class SlowLimits(NamedTuple):
    """Bytes and seconds at which a client counts as slow, and as lost."""

    #: Bytes in the connection's write buffer above which nothing more is written to it.
    high_water: int = 64 << 10
    #: Bytes in write buffer and outbox together past which the connection is cut.
    overflow: int = 1_000_000
    #: The connection is cut when it has taken nothing for this long while something waits, s.
    stall: float = 30.0


class Outbox(Generic[T]):
    """Mutable. `size` is in bytes; `left_out` counts log lines by job since it was last told."""

    def __init__(self) -> None:
        self.size = 0
        self.left_out: dict[str, int] = {}
        self._answers: deque[T] = deque()
        self._states: dict[str, T] = {}

    def __bool__(self) -> bool:
        return bool(self._answers or self._states)

    def answer(self, item: T) -> None:
        self._answers.append(item)
        self.size += len(item)

    def state(self, key: str, item: T) -> None:
        """Replaces what waits under `key`, and keeps its place: a busy job pushes no other back."""
        self._discount(key)
        self._states[key] = item
        self.size += len(item)

    def leave_out(self, job: str) -> None:
        """A log line of the job was not sent."""
        self.left_out[job] = self.left_out.get(job, 0) + 1

    def forget(self, key: str) -> None:
        """The client does not want the state any more, or got a newer one as an answer."""
        self._discount(key)
        self._states.pop(key, None)

    def _discount(self, key: str) -> None:
        old = self._states.get(key)
        if old is not None:
            self.size -= len(old)

    def take(self) -> T:
        """The next to be written: answers first, then states. Raises `KeyError` when empty."""
        item = self._answers.popleft() if self._answers else self._states.pop(next(iter(self._states), ""))
        self.size -= len(item)
        return item

    def take_left_out(self) -> dict[str, int]:
        left_out, self.left_out = self.left_out, {}
        return left_out
