"""A mergeable quantile sketch of constant size: DDSketch with exact count, sum, min and max.

Ch. Masson, J. E. Rim, H. K. Lee: DDSketch, VLDB 2019. Quantiles are within `ACCURACY` (relative) of the true
value. The bucket layout is wire format: bucket `i` holds values in `(GAMMA**(i-1), GAMMA**i]`; changing
`ACCURACY` makes recorded sketches unreadable.
"""

from __future__ import annotations

import math

import msgspec

ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_PER_LOG = 1 / math.log(GAMMA)
#: Values at or below this, negative ones too, share the bucket `LOWEST`.
_SMALLEST = 1e-4
LOWEST = math.ceil(math.log(_SMALLEST) * _PER_LOG)
#: Values from about 1e12 on share the last bucket; so there are at most 1,843 buckets.
HIGHEST = math.ceil(math.log(1e12) * _PER_LOG)


def bucket(value: float) -> int:
    """The bucket of a value: computed once, it can be added to many sketches."""
    if value <= _SMALLEST:
        return LOWEST
    return min(math.ceil(math.log(value) * _PER_LOG), HIGHEST)


class Sketch(msgspec.Struct, omit_defaults=True):
    """Mutable; `add` values, `merge` others, ask for `quantile`."""

    count: int = 0
    sum: float = 0.0
    min: float = 0.0
    max: float = 0.0
    buckets: dict[int, int] = {}
    #: The buckets as a checkpoint holds them, in a third of the room: the first index, then the count of each
    #: bucket after it; `-n` stands for n empty ones. Read, they are `buckets` again.
    runs: list[int] = []

    def __post_init__(self) -> None:
        if self.runs:
            index, *counts = self.runs
            self.runs = []
            for n in counts:
                if n > 0:
                    self.buckets[index] = n
                    index += 1
                else:
                    index -= n

    def packed(self) -> Sketch:
        """The same with `runs` in place of `buckets`: to be written, not to be asked."""
        out = Sketch(self.count, self.sum, self.min, self.max)
        before = 0
        for index in sorted(self.buckets):
            if not out.runs:
                out.runs.append(index)
            elif index > before + 1:
                out.runs.append(before + 1 - index)
            out.runs.append(self.buckets[index])
            before = index
        return out

    def add(self, value: float, index: int | None = None) -> None:
        """Add a finite value; `index` is its `bucket`, where the caller has it already."""
        if index is None:
            index = bucket(value)
        if not self.count:
            self.min = self.max = value
        elif value < self.min:
            self.min = value
        elif value > self.max:
            self.max = value
        self.count += 1
        self.sum += value
        self.buckets[index] = self.buckets.get(index, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Add all values of `other`."""
        if not other.count:
            return
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max) if self.count else other.max
        self.count += other.count
        self.sum += other.sum
        for index, n in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + n

    def quantile(self, q: float) -> float | None:
        """The value at quantile `q` (0 to 1), or None when empty."""
        if not self.count:
            return None
        rank = q * (self.count - 1)
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen > rank:
                if index == LOWEST:
                    return max(0.0, self.min) if self.max > 0 else self.min
                estimate = 2 * GAMMA**index / (GAMMA + 1)
                return max(self.min, min(self.max, estimate))
        return self.max

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None
