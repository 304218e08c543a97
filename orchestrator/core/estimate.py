"""How long a session and a job will take, and when sessions begin: from the spec and the slots online alone.

Nobody is asked, so what the site does is assumed: the assumptions are constants here, and are told with the
estimate.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from broker_config.arrivals import Arrivals
from broker_config.behaviour import Pages
from broker_config.duration_range import DurationRange
from broker_config.job_plan import Span
from broker_config.job_spec import JobSpec
from broker_config.journey import Journey
from broker_config.load import (
    ConstantArrivalRate,
    RampingArrivalRate,
    RampingVus,
    SharedSessions,
    pacing,
    peak,
    span,
)

#: Assumed, s: for opening a page; for a step of a journey that opens none; for a script.
PAGE, STEP, SCRIPT = 1.0, 0.3, 5.0
#: Assumed steps of scrolling on a page.
SCROLLS = 5
#: Minutes that are told, at most.
MAX_MINUTES = 24 * 60
#: Virtual users of a ramp that are looked at one by one.
MAX_RAMPED = 100


class Course(NamedTuple):
    """How the job goes: `minutes` holds the sessions that begin in each minute, `needed` is how many would
    run at once if there were slots for all of them."""

    duration: Span
    minutes: list[int]
    at_once: int
    needed: int


class Run(NamedTuple):
    """Sessions of one virtual user, or of `users` alike: at `first` and then each `step` seconds, before
    `end`."""

    first: float
    end: float
    step: float
    users: int = 1

    def before(self, t: float) -> int:
        """How many begin before `t`."""
        until = min(t, self.end) - self.first
        return self.users * math.ceil(until / self.step - 1e-9) if until > 0 else 0


def session_span(spec: JobSpec) -> tuple[Span, list[str]]:
    """The time of one session, and what that rests on."""
    limit = float(spec.limits.session)
    if spec.script is not None:
        least, likely = 0.0, SCRIPT
        said = f"what the script does is not known: {SCRIPT:g} s are assumed"
    elif spec.journey is not None:
        least, likely = _journey(spec.journey, spec.behaviour.resolved().think)
        said = f"{PAGE:g} s are assumed for opening a page, {STEP:g} s for a step that opens none"
    else:
        pages = spec.behaviour.resolved()
        least, likely = _reading(pages)
        said = f"{PAGE:g} s are assumed for opening a page"
        if pages.scroll:
            said += f", and {SCROLLS} steps of scrolling on each"
    words = [said, f"at most {spec.limits.session} (limits.session)"]
    return Span(least=min(least, limit), likely=min(likely, limit), most=limit), words


def course(spec: JobSpec, session: Span, slots: int | None, lanes: Sequence[tuple[int, int]] = ()) -> Course:
    """How the job goes with so many slots; None: as many as it asks for. `lanes` holds sessions and slots of
    each of its platforms, which matters where one has fewer slots than all together."""
    load = spec.load
    if isinstance(load, ConstantArrivalRate | RampingArrivalRate):
        return _arriving(spec, load, session, slots)
    delay, step, sessions = float(load.start_delay), pacing(load), spec.total_sessions
    needed = min(peak(load), sessions) if isinstance(load, SharedSessions) else peak(load)
    at_once = needed if slots is None else min(needed, slots)
    cycle = max(session.likely, step)
    length = math.inf if (limit := span(load)) is None else limit
    if isinstance(load, RampingVus):
        # Neighbours do about the same: of many one stands for several.
        alike = -(-at_once // MAX_RAMPED)
        runs = [
            run._replace(users=min(alike, at_once - first))
            for first in range(0, at_once, alike)
            for run in _active(load, min(first + alike // 2, at_once - 1), cycle)
        ]
    else:
        rounds, rest = divmod(sessions, at_once)
        runs = [
            Run(0, min((rounds + 1) * cycle, length), cycle, rest),
            Run(0, min(rounds * cycle, length), cycle, at_once - rest),
        ]
    duration = _until(delay + length, session, float(load.graceful_stop))
    if isinstance(load, SharedSessions) or spec.is_bounded:

        def takes(one: float) -> float:
            """All sessions, where one takes so long."""
            rounds = [math.ceil(n / min(at_once, own)) for n, own in [(sessions, at_once), *lanes] if own]
            return delay + (max(rounds) - 1) * max(one, step) + one

        whole = Span(least=takes(session.least), likely=takes(session.likely), most=takes(session.most or 0))
        duration = _sooner(whole, duration)
    last = max((run.end for run in runs), default=0.0)
    begun = _begun(runs, delay, _minutes(delay + last))
    return Course(duration, _cut(begun, sessions), at_once, needed)


def _arriving(
    spec: JobSpec, load: ConstantArrivalRate | RampingArrivalRate, session: Span, slots: int | None
) -> Course:
    arrivals, delay = Arrivals(load), float(load.start_delay)
    rates = [load.rate] if isinstance(load, ConstantArrivalRate) else [s.target for s in load.stages]
    rates += [] if isinstance(load, ConstantArrivalRate) else [load.start_rate]
    needed = max(1, math.ceil(max(rates) / load.time_unit * session.likely - 1e-9))
    end = delay + (span(load) or 0.0)
    numbers = range(1, arrivals.count + 1)
    begun = [bisect_left(numbers, 60.0 * m - delay, key=arrivals.time) for m in range(_minutes(end) + 1)]
    most = load.max_vus if slots is None else min(load.max_vus, slots)
    duration = _until(end, session, float(load.graceful_stop))
    return Course(duration, _cut(begun, spec.total_sessions), min(needed, most), needed)


def _reading(p: Pages) -> tuple[float, float]:
    """Least and likely seconds of a session that reads."""
    pages = sum(p.click_ratio**n for n in range(p.depth))
    sure = p.depth if p.click_ratio == 1 else 1
    scroll = SCROLLS * _mean(p.scroll_rest) if p.scroll else 0.0
    least = sure * p.dwell.min + (sure - 1) * p.think.min
    return least, pages * (PAGE + scroll + _mean(p.dwell)) + (pages - 1) * _mean(p.think)


def _journey(journey: Journey, think: DurationRange) -> tuple[float, float]:
    least, likely = 0.0, 0.0 if journey.steps[0].goto is not None else PAGE
    for step in journey.steps:
        least, likely = least + think.min, likely + _mean(think)
        if step.dwell is not None:
            least, likely = least + step.dwell.min, likely + _mean(step.dwell)
        elif step.pause is not None:
            least, likely = least + step.pause, likely + step.pause
        else:
            likely += PAGE if step.goto is not None else STEP
    return least, likely


def _mean(span: DurationRange) -> float:
    return (span.min + span.max) / 2


def _until(end: float, session: Span, grace: float) -> Span:
    """Sessions begin until `end`; those that run then have `grace` to end."""
    return Span(
        least=end, likely=end + min(session.likely, grace), most=end + min(session.most or grace, grace)
    )


def _sooner(a: Span, b: Span) -> Span:
    most = b.most if a.most is None or b.most is None else min(a.most, b.most)
    return Span(least=min(a.least, b.least), likely=min(a.likely, b.likely), most=most)


def _active(load: RampingVus, user: int, cycle: float) -> Iterator[Run]:
    """When virtual user number `user`, from 0, is one of those that there should be (see `ramped`)."""
    since: float | None = 0.0 if load.start_vus > user else None
    at, now = 0.0, load.start_vus
    for stage in load.stages:
        # Taken on when the line reaches its number, let go when the line is at the one below.
        if since is None and stage.target > user:
            since = at + stage.duration * (user + 1 - now) / (stage.target - now)
        elif since is not None and stage.target <= user:
            yield Run(since, at + stage.duration * (now - user) / (now - stage.target), cycle)
            since = None
        at, now = at + stage.duration, stage.target
    if since is not None:
        yield Run(since, at, cycle)


def _begun(runs: Sequence[Run], delay: float, minutes: int) -> list[int]:
    """How many sessions have begun by each minute's beginning, and by the end of the last one."""
    out = [0] * (minutes + 1)
    for run in runs:
        first = min(minutes, max(0, math.floor((run.first + delay) / 60)))
        end = min(minutes, max(first, math.ceil((run.end + delay) / 60))) if run.end < math.inf else minutes
        before = 0
        for m in range(first, end + 1):
            begun = run.before(60.0 * m - delay)
            out[m] += begun - before
            before = begun
    return list(accumulate(out))


def _minutes(seconds: float) -> int:
    return min(MAX_MINUTES, max(1, math.ceil(seconds / 60)))


def _cut(begun: Sequence[int], most: int) -> list[int]:
    """The sessions of each minute, from those that have begun by its end; `most` in all. Up to the last
    minute in which one begins."""
    minutes = [min(b, most) - min(a, most) for a, b in pairwise(begun)]
    while len(minutes) > 1 and not minutes[-1]:
        minutes.pop()
    return minutes
