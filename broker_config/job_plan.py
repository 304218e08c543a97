"""The answer of `POST /jobs/plan`: what a job would run, as far as it can be said without running it."""

from __future__ import annotations

import msgspec


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time in seconds: at least, as expected, at most. `most` is None where nothing bounds it."""

    least: float
    likely: float
    most: float | None = None


class PlannedPlatform(msgspec.Struct, frozen=True, kw_only=True):
    """One platform that the job asks for. `runs_on` is what its sessions would get now: the platform itself,
    one of its fallbacks, or None where no runner is online for any; the numbers are of that one."""

    platform: str
    sessions: int
    runs_on: str | None = None
    runners: int = 0
    slots: int = 0
    free: int = 0


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was stored, and no target was asked. `session` is the time of one session, `duration` that of
    the job from its first moment to its last."""

    name: str
    executor: str
    #: Planned in all; with virtual users that begin as many as they can in a time, about as many as there
    #: will be.
    sessions: int
    #: There cannot be more.
    most_sessions: int
    #: Sessions by label of the target.
    targets: dict[str, int]
    platforms: list[PlannedPlatform]
    #: Sessions by device profile; empty where the job names none.
    devices: dict[str, int] = {}
    #: Most sessions at once, with the slots that are online.
    at_once: int
    #: Sessions that begin in each minute of the job, as expected: up to a day.
    minutes: list[int]
    session: Span
    duration: Span
    #: What the estimate rests on, in words.
    rests_on: list[str] = []
    #: What will not go as the spec asks.
    warnings: list[str] = []
    #: As the spec has it; None: drawn at the submit.
    seed: int | None = None
