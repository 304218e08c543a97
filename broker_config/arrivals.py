"""When the sessions of an open-model load start: the inverse of the rate's integral."""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from typing import NamedTuple

from .load import ConstantArrivalRate, RampingArrivalRate


class _Stretch(NamedTuple):
    """In a straight line from rate `a` to rate `b`, sessions a second, within `length` seconds."""

    start: float
    length: float
    a: float
    b: float


class Arrivals:
    """`count` sessions, numbered from 1. Session n starts at the moment at which the rate's integral passes
    n - 1: the first as soon as there is a rate at all.

    `count` is the integral over the whole load, rounded down: exact for the numbers as they are written, so
    that 0.29 a second for 100 s are 29.
    """

    def __init__(self, load: ConstantArrivalRate | RampingArrivalRate) -> None:
        unit = _exact(load.time_unit)
        if isinstance(load, ConstantArrivalRate):
            first = load.rate
            stages = [(load.duration, load.rate)]
        else:
            first = load.start_rate
            stages = [(s.duration, s.target) for s in load.stages]
        self._stretches: list[_Stretch] = []
        #: The integral at the beginning of each stretch.
        self._before: list[float] = []
        total, start, rate = Fraction(0), Fraction(0), _exact(first)
        for duration, target in stages:
            length, goal = _exact(duration), _exact(target)
            if length:
                self._before.append(float(total))
                self._stretches.append(
                    _Stretch(float(start), float(length), float(rate / unit), float(goal / unit))
                )
                total += (rate + goal) * length / 2 / unit
                start += length
            rate = goal
        self.count = math.floor(total)

    def time(self, session: int) -> float:
        """Seconds from the beginning of the load to the session's start. It never falls from one session to
        the next. `IndexError` outside 1 to `count`."""
        if not 1 <= session <= self.count:
            raise IndexError(session)
        wanted = float(session - 1)
        # Of stretches without arrivals in between, the one after them.
        i = bisect_right(self._before, wanted) - 1
        start, length, a, b = self._stretches[i]
        x = wanted - self._before[i]
        if x <= 0:
            return start
        slope = (b - a) / length
        root = math.sqrt(max(0.0, a * a + 2 * slope * x))
        return start + min(length, 2 * x / (a + root))


def _exact(number: float) -> Fraction:
    """As it was written: 0.1 is a tenth."""
    return Fraction(repr(float(number)))
