"""A rate ceiling: so many a second, evenly. No clock of its own."""

from __future__ import annotations


class TokenBucket:
    """`rate` is per second. What was not used is saved up for `burst` at most; by default, one second's."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        if rate <= 0:
            raise ValueError(f"a rate of {rate} is not above 0")
        self.rate = rate
        self.burst = max(1.0, rate if burst is None else burst)
        self._tokens = self.burst
        self._at = now

    def become(self, rate: float, now: float) -> None:
        """Have another rate from `now` on, and one second's burst of it. What was taken stays taken."""
        self._fill(now)
        self.rate = rate
        self.burst = max(1.0, rate)
        self._tokens = min(self._tokens, self.burst)

    def take(self, now: float) -> float:
        """Take a token, of the future if need be; returns the seconds to wait until it is there.

        Who comes later waits longer: the order is that of the calls."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)
