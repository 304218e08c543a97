"""Load: how many sessions at once, or how many a second. Names and meaning are those of k6's executors.

Closed models (`shared-sessions`, `constant-vus`, `ramping-vus`) have virtual users: each begins its next
session when the last one has ended. Open models (`constant-arrival-rate`, `ramping-arrival-rate`) begin
sessions at their times, whether earlier ones have ended or not.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .duration import Duration

MAX_VUS = 10_000
MAX_STAGES = 100
#: Sessions in one `time_unit`.
MAX_RATE = 1_000_000.0

Vus = Annotated[int, Meta(ge=1, le=MAX_VUS)]


class _Executor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="executor"):
    #: Seconds from the start of the job to its first session.
    start_delay: Duration = msgspec.field(default_factory=lambda: Duration(0))
    #: Seconds that running sessions have to end by themselves once the load's time is over; then they are
    #: cancelled.
    graceful_stop: Duration = msgspec.field(default_factory=lambda: Duration(30))


class SharedSessions(_Executor, frozen=True, kw_only=True, tag="shared-sessions"):
    """`vus` virtual users share the sessions: each takes the next one as soon as it is free."""

    vus: Vus = 1
    #: The job is cancelled when it takes longer.
    max_duration: Duration | None = None
    #: Least time from the start of a virtual user's session to the start of its next one.
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class ConstantVus(_Executor, frozen=True, kw_only=True, tag="constant-vus"):
    """`vus` virtual users, each with one session after another, for `duration`. The job's `sessions` is an
    upper bound here, and may be left out."""

    vus: Vus = 1
    duration: Duration
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class VuStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Within `duration`, go in a straight line to `target` virtual users."""

    duration: Duration
    target: Annotated[int, Meta(ge=0, le=MAX_VUS)]


class RampingVus(_Executor, frozen=True, kw_only=True, tag="ramping-vus"):
    """Virtual users by stages. Who is too many finishes the session at hand and begins no other."""

    start_vus: Annotated[int, Meta(ge=0, le=MAX_VUS)] = 1
    stages: Annotated[list[VuStage], Meta(min_length=1, max_length=MAX_STAGES)]
    pacing: Duration = msgspec.field(default_factory=lambda: Duration(0))


class ConstantArrivalRate(_Executor, frozen=True, kw_only=True, tag="constant-arrival-rate"):
    """`rate` sessions each `time_unit`, for `duration`. A session that cannot start within `late_limit` of
    its time, because no runner or none of `max_vus` is free, is dropped, and counted so."""

    rate: Annotated[float, Meta(gt=0, le=MAX_RATE)]
    time_unit: Duration = msgspec.field(default_factory=lambda: Duration(1))
    duration: Duration
    max_vus: Vus = 100
    late_limit: Duration = msgspec.field(default_factory=lambda: Duration(2))


class RateStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Within `duration`, go in a straight line to `target` sessions each `time_unit`."""

    duration: Duration
    target: Annotated[float, Meta(ge=0, le=MAX_RATE)]


class RampingArrivalRate(_Executor, frozen=True, kw_only=True, tag="ramping-arrival-rate"):
    """Sessions at a rate that changes by stages; see `ConstantArrivalRate`."""

    start_rate: Annotated[float, Meta(ge=0, le=MAX_RATE)] = 0.0
    time_unit: Duration = msgspec.field(default_factory=lambda: Duration(1))
    stages: Annotated[list[RateStage], Meta(min_length=1, max_length=MAX_STAGES)]
    max_vus: Vus = 100
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
