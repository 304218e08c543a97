"""What is wrong with a load and its numbers of sessions, beyond the shape of the document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .arrivals import Arrivals
from .errors import Problem
from .load import (
    ConstantArrivalRate,
    ConstantVus,
    Load,
    RampingArrivalRate,
    RampingVus,
    SharedSessions,
    is_open_ended,
    peak,
    span,
)

#: A late limit below this would drop sessions that are as good as in time, s.
LEAST_LATE_LIMIT = 0.05
#: Below this a rate a second could be no number any more, s.
LEAST_TIME_UNIT = 1e-9
#: The longest that a load may go on, s: records are kept for 30 days.
MAX_SPAN = 7 * 86_400.0

_NAMES = {
    SharedSessions: "shared-sessions",
    ConstantVus: "constant-vus",
    RampingVus: "ramping-vus",
    ConstantArrivalRate: "constant-arrival-rate",
    RampingArrivalRate: "ramping-arrival-rate",
}


def executor_name(load: Load) -> str:
    """The executor's name in documents."""
    return _NAMES[type(load)]


def load_problems(
    load: Load, sessions: int | None, by_target: Sequence[int | None], most: int
) -> Iterator[Problem]:
    """`sessions` is the job's number, `by_target` holds those of its targets, `most` is the largest that is
    allowed."""
    wrong = list(_load_alone(load, most))
    yield from wrong
    yield from _session_problems(load, sessions, by_target, most)
    if isinstance(load, ConstantArrivalRate | RampingArrivalRate) and not wrong:
        fixed = sum(n or 0 for n in by_target)
        count = Arrivals(load).count
        if fixed > count:
            yield Problem(
                "targets", f"the targets ask for {fixed} sessions, and the load starts no more than {count}"
            )


def _load_alone(load: Load, most: int) -> Iterator[Problem]:
    length = span(load)
    name = executor_name(load)
    if isinstance(load, SharedSessions):
        return
    if length is not None and length > MAX_SPAN:
        yield Problem("load", f"{name} for {length / 86_400:g} days is too long; at most 7 days")
        return
    if not length:
        where = "load.duration" if isinstance(load, ConstantVus | ConstantArrivalRate) else "load.stages"
        yield Problem(where, "lasts 0 s; give it a duration")
        return
    if isinstance(load, RampingVus) and peak(load) == 0:
        yield Problem("load.stages", "there is never a virtual user; give start_vus or a target above 0")
    if isinstance(load, ConstantArrivalRate | RampingArrivalRate):
        if load.time_unit < LEAST_TIME_UNIT:
            said = f"{load.time_unit} is too short" if load.time_unit else "0 is not allowed"
            yield Problem("load.time_unit", f"{said}; use a duration such as 1s or 1m")
            return
        if load.late_limit < LEAST_LATE_LIMIT:
            yield Problem("load.late_limit", f"{load.late_limit} is too short; at least 50ms")
        count = Arrivals(load).count
        if count == 0:
            yield Problem("load", f"{name} starts no session at all; raise the rate or the duration")
        elif count > most:
            yield Problem("load", f"{name} starts {count} sessions; at most {most} are allowed")


def _session_problems(
    load: Load, sessions: int | None, by_target: Sequence[int | None], most: int
) -> Iterator[Problem]:
    fixed = sum(n or 0 for n in by_target)
    unfixed = [i for i, n in enumerate(by_target) if n is None]
    if sessions is not None:
        if fixed > sessions:
            yield Problem("sessions", f"{sessions} is less than the {fixed} that the targets ask for")
        elif not unfixed and fixed != sessions:
            yield Problem("sessions", f"{sessions} differs from the {fixed} of all targets; leave one out")
        return
    if not unfixed:
        if fixed == 0:
            yield Problem("sessions", "the targets have 0 sessions in all; at least 1 is needed")
        elif fixed > most:
            yield Problem("targets", f"{fixed} sessions in all; at most {most} are allowed")
    elif isinstance(load, SharedSessions):
        said = f"is missing; give it, or give targets[{unfixed[0]}] its own number of sessions"
        yield Problem("sessions", said)
    elif is_open_ended(load) and fixed:
        own = next(i for i, n in enumerate(by_target) if n)
        yield Problem(
            f"targets[{own}].sessions",
            f"with {executor_name(load)} nobody knows how many sessions there will be; use share, or bound "
            "them by sessions of the job",
        )
