"""A job's load over time: how many virtual users there are when, and when its sessions start. No clock.

Times are seconds of the conductor's clock. They rest on the job's `started_at`, which its document holds: so
whoever takes over a job goes on with the same schedule, if its clock is in step.
"""

from __future__ import annotations

import math

from broker_config.arrivals import Arrivals
from broker_config.load import (
    ConstantArrivalRate,
    Load,
    RampingArrivalRate,
    RampingVus,
    SharedSessions,
    is_open_ended,
    late_limit,
    pacing,
    peak,
    span,
)

#: Sessions of an open model are sent so long before their time, s. Each waits in a slot: longer would take
#: slots from other jobs, shorter would not do where a runner asks for several platforms in turn.
AHEAD = 1.5
#: What a line may miss a whole number by, and still have reached it.
_ROUNDING = 1e-9


class Schedule:
    """`started_at` is None while the job has not started: then it has no virtual users, unless they need no
    time to be known."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.peak = peak(load)
        self.pacing = pacing(load)
        self.late_limit = late_limit(load)
        #: Seconds in which sessions are begun; None for as long as there are any.
        self.span = span(load)
        self.arrivals = Arrivals(load) if isinstance(load, ConstantArrivalRate | RampingArrivalRate) else None
        #: The number of sessions is known at the end only.
        self.open_ended = is_open_ended(load)
        #: The load goes by the clock from the job's start on.
        self.timed = not isinstance(load, SharedSessions) or load.start_delay > 0
        #: What is left when the span is over ends the job as cancelled.
        self.aborts = isinstance(load, SharedSessions)

    def begin(self, started_at: float | None) -> float | None:
        """When the first session may start."""
        return None if started_at is None else started_at + self._load.start_delay

    def vus(self, now: float, started_at: float | None) -> int:
        """Sessions that may be under way now."""
        begin = self.begin(started_at)
        if begin is None:
            return 0 if self.timed else self.peak
        t = now - begin
        if self.arrivals is not None:
            # Late ones may still start, and those to come are sent ahead of their time.
            return self.peak
        if t < 0 or self.is_over(now, started_at):
            return 0
        return ramped(self._load, t) if isinstance(self._load, RampingVus) else self.peak

    def start_of(self, session: int, started_at: float | None) -> float | None:
        """The time of an open-model session; None where sessions have none, or the job has not started."""
        begin = self.begin(started_at)
        return None if begin is None or self.arrivals is None else begin + self.arrivals.time(session)

    def is_over(self, now: float, started_at: float | None) -> bool:
        """True when no session may be begun any more."""
        begin = self.begin(started_at)
        return begin is not None and self.span is not None and now >= begin + self.span

    def must_stop(self, now: float, started_at: float | None) -> bool:
        """True when running sessions have had their time to end by themselves, too."""
        return self.is_over(now - self._load.graceful_stop, started_at)


def ramped(load: RampingVus, t: float) -> int:
    """Virtual users `t` seconds after the beginning: 0 when all stages are over.

    A number is taken on when the line has reached it: on the way up and on the way down.
    """
    now, start = load.start_vus, 0.0
    for stage in load.stages:
        if t < start + stage.duration:
            line = now + (stage.target - now) * (t - start) / stage.duration
            return math.floor(line + _ROUNDING) if stage.target >= now else math.ceil(line - _ROUNDING)
        now, start = stage.target, start + stage.duration
    return 0
