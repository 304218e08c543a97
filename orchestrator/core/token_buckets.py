"""Token buckets by key, in a table that does not grow without bound."""

from __future__ import annotations

import math
from collections import OrderedDict


class TokenBuckets:
    """Each key may take `burst` at once, and `rate` a second in the long run. `now` is in seconds of any one
    clock. Of more than `size` keys the one that was quiet for longest is forgotten: it is full again then,
    if not for long."""

    def __init__(self, rate: float, burst: float, size: int = 20_000) -> None:
        self._rate = rate
        self._burst = burst
        self._size = size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one. 0 if there was one; else the seconds until there will be."""
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[key] = (tokens if wait else tokens - 1, now)
        while len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return wait


def whole_seconds(wait: float) -> int:
    """As a header says it: never 0, which would be at once."""
    return max(1, math.ceil(wait))
