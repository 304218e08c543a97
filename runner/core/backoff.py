"""Growing, jittered pauses between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Pauses in seconds: `first`, doubled each time up to `most`, each drawn from half to the whole of it, so
    that a fleet does not come back in one instant."""

    def __init__(self, rng: random.Random, *, first: float = 0.25, most: float = 10.0) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self._next = first

    def pause(self, at_least: float = 0.0) -> float:
        """The next pause; `at_least` is what the other side asked for (jitter comes on top)."""
        bound, self._next = self._next, min(self._most, self._next * 2)
        return at_least + bound * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next = self._first
