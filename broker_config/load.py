"""Load: how many sessions at once, or how many a second. Names and meaning are those of k6's executors.

Closed models (`shared-sessions`, `constant-vus`, `ramping-vus`) have virtual users: each begins its next
session when the last one has ended. Open models (`constant-arrival-rate`, `ramping-arrival-rate`) begin
sessions at their times, whether earlier ones have ended or not.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from .duration import Duration

MAX_VUS = 10_000
MAX_STAGES = 100
#: Sessions in one `time_unit`.
MAX_RATE = 1_000_000.0
#: Seconds that a session takes at least, where their number must be bounded.
SHORTEST_SESSION = 0.1
#: A session that starts later than this after its time counts as late, ms.
LATE_MS = 100.0

Vus = Annotated[int, Meta(ge=1, le=MAX_VUS)]


class _Executor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="executor"):
    #: Seconds from the start of the job to its first session.
    start_delay: Duration = msgspec.field(default_factory=lambda: Duration(0))
    #: Seconds that running sessions have to end by themselves once the load's time is over; then they are
    #: cancelled.
    graceful_stop: Duration = msgspec.field(default_factory=lambda: Duration(30))


class SharedSessions(_Executor, frozen=True, kw_only=True, tag="shared-sessions"):
    """`vus` virtual users share the sessions: each takes the next one as soon as it is free."""

    #: Sessions at once.
    vus: Vus = 1
    #: The job is cancelled when it takes longer.
    max_duration: Duration | None = None
    #: Least time from the start of a virtual user's session to the start of its next one.
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class ConstantVus(_Executor, frozen=True, kw_only=True, tag="constant-vus"):
    """`vus` virtual users, each with one session after another, for `duration`. The job's `sessions` is an
    upper bound here, and may be left out."""

    #: Sessions at once.
    vus: Vus = 1
    #: How long sessions are begun.
    duration: Duration
    #: Least time from the start of a virtual user's session to the start of its next one.
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class VuStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Within `duration`, go in a straight line to `target` virtual users."""

    #: How long the stage lasts; with 0 the number changes at once.
    duration: Duration
    #: Virtual users at its end.
    target: Annotated[int, Meta(ge=0, le=MAX_VUS)]


class RampingVus(_Executor, frozen=True, kw_only=True, tag="ramping-vus"):
    """Virtual users by stages. Who is too many finishes the session at hand and begins no other."""

    #: Virtual users at the beginning.
    start_vus: Annotated[int, Meta(ge=0, le=MAX_VUS)] = 1
    #: One after another.
    stages: Annotated[list[VuStage], Meta(min_length=1, max_length=MAX_STAGES)]
    #: Least time from the start of a virtual user's session to the start of its next one.
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class ConstantArrivalRate(_Executor, frozen=True, kw_only=True, tag="constant-arrival-rate"):
    """`rate` sessions each `time_unit`, for `duration`. A session that cannot start within `late_limit` of
    its time, because no runner or none of `max_vus` is free, is dropped, and counted so."""

    #: Sessions each `time_unit`.
    rate: Annotated[float, Meta(gt=0, le=MAX_RATE)]
    #: What the rate is counted by.
    time_unit: Duration = msgspec.field(default_factory=lambda: Duration(1))
    #: How long sessions are begun.
    duration: Duration
    #: Sessions at once, at most.
    max_vus: Vus = 100
    #: How much later than planned a session may start; then it is dropped.
    late_limit: Duration = msgspec.field(default_factory=lambda: Duration(2))


class RateStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Within `duration`, go in a straight line to `target` sessions each `time_unit`."""

    #: How long the stage lasts; with 0 the rate changes at once.
    duration: Duration
    #: Sessions each `time_unit` at its end.
    target: Annotated[float, Meta(ge=0, le=MAX_RATE)]


class RampingArrivalRate(_Executor, frozen=True, kw_only=True, tag="ramping-arrival-rate"):
    """Sessions at a rate that changes by stages; see `constant-arrival-rate`."""

    #: Sessions each `time_unit` at the beginning.
    start_rate: Annotated[float, Meta(ge=0, le=MAX_RATE)] = 0.0
    #: What the rates are counted by.
    time_unit: Duration = msgspec.field(default_factory=lambda: Duration(1))
    #: One after another.
    stages: Annotated[list[RateStage], Meta(min_length=1, max_length=MAX_STAGES)]
    #: Sessions at once, at most.
    max_vus: Vus = 100
    #: How much later than planned a session may start; then it is dropped.
    late_limit: Duration = msgspec.field(default_factory=lambda: Duration(2))


Load = SharedSessions | ConstantVus | RampingVus | ConstantArrivalRate | RampingArrivalRate


def peak(load: Load) -> int:
    """The most sessions that may run at once."""
    match load:
        case SharedSessions(vus=vus) | ConstantVus(vus=vus):
            return vus
        case RampingVus(start_vus=start, stages=stages):
            return max(start, *(s.target for s in stages))
        case ConstantArrivalRate(max_vus=vus) | RampingArrivalRate(max_vus=vus):
            return vus


def span(load: Load) -> float | None:
    """Seconds in which sessions are begun, from the end of the start delay; None where there is no limit."""
    match load:
        case SharedSessions(max_duration=limit):
            return float(limit) if limit else None
        case ConstantVus(duration=duration) | ConstantArrivalRate(duration=duration):
            return float(duration)
        case RampingVus() | RampingArrivalRate():
            return sum(float(s.duration) for s in load.stages)


def late_limit(load: Load) -> float:
    """Seconds by which a session may start late before it is dropped; 0 where sessions have no times."""
    match load:
        case ConstantArrivalRate(late_limit=limit) | RampingArrivalRate(late_limit=limit):
            return float(limit)
    return 0.0


def pacing(load: Load) -> float:
    """Least time from the start of a virtual user's session to the start of its next one, s."""
    match load:
        case SharedSessions(pacing=pause) | ConstantVus(pacing=pause) | RampingVus(pacing=pause):
            return float(pause)
    return 0.0


def is_open_ended(load: Load) -> bool:
    """Whether the number of sessions is known only at the end: virtual users begin as many as they can."""
    return isinstance(load, ConstantVus | RampingVus)


def most_sessions(load: ConstantVus | RampingVus) -> int:
    """More sessions than this the virtual users cannot begin: one is not over in `SHORTEST_SESSION`."""
    return peak(load) * math.ceil((span(load) or 0.0) / SHORTEST_SESSION)
