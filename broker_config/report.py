"""The report of a job: the body of `GET /jobs/<id>/report?format=json`; other formats are made of it.

Part of the contract, like the rest of the API. New fields have defaults.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .job import EndedBy, ErrorExample
from .messages import Counts, JobState, Summary, Verdict


class ReportGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All sessions of the job, of one target, or of one platform (as asked for)."""

    name: str
    planned: int
    ok: int
    failed: int
    cancelled: int
    lost: int
    dropped: int
    #: Took more than one attempt / ran while their machine was saturated / failed by a fault of runner,
    #: browser or egress / started late (open models).
    retried: int
    saturated: int
    faults: int
    late: int = 0
    #: Share of failed and lost sessions of those that ran; None where none did.
    error_rate: float | None = None
    #: Times in ms, `bytes` in bytes.
    metrics: dict[str, Summary] = {}


class ReportStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the journey over all sessions; `time` in ms, of those that succeeded. `check`: it is an
    `expect`, so `ok` and `failed` say how often it held."""

    name: str
    ok: int
    failed: int
    check: bool = False
    time: Summary | None = None


class ReportThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold and its left side. `holds` and `actual` are None where nothing was measured."""

    threshold: str
    holds: bool | None
    actual: float | None
    #: `actual` for people, with its unit.
    shown: str
    abort_on_fail: bool = False
    #: Seconds.
    delay: float = 0.0
    window: float | None = None
    #: It has ended the job early. `actual` is nevertheless that of all sessions.
    ended_job: bool = False


class ReportError(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of error, as in docs/errors.md, and its first sessions."""

    kind: str
    sessions: int
    examples: list[ErrorExample] = []


class ReportGot(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that ran, by the platform asked for and the one that they got."""

    asked: str
    got: str
    sessions: int


class ReportMoment(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions that ended within one stretch of time, which begins at `at`; load in ms."""

    at: float
    ok: int
    failed: int
    other: int
    loads: int
    load_mean: float | None = None
    load_max: float | None = None


class ReportBin(msgspec.Struct, frozen=True, kw_only=True):
    """So many page loads took more than `above` and at most `up_to` ms."""

    above: float
    up_to: float
    count: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a job as a whole. Times are seconds since 1970. Of a job that runs, the
    state of about a second ago."""

    #: Of this document; grows when the meaning of a field changes.
    format: int = 1
    job: str
    name: str
    state: JobState
    verdict: Verdict | None
    reason: str
    ended_by: EndedBy
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    made_at: float
    #: Of the orchestrator that made it.
    version: str
    retry_of: str | None
    counts: Counts
    total: ReportGroup
    #: Metrics without the sessions that ran while their machine was saturated; empty where none did.
    calm: dict[str, Summary]
    targets: list[ReportGroup]
    platforms: list[ReportGroup]
    got: list[ReportGot]
    steps: list[ReportStep]
    thresholds: list[ReportThreshold]
    errors: list[ReportError]
    #: Length of each moment, s.
    moment_s: float
    timeline: list[ReportMoment]
    load_distribution: list[ReportBin]
    #: Requests that the egress gate refused, and those to third parties, by origin; sessions by proxy.
    refused: dict[str, int]
    third_parties: dict[str, int]
    upstreams: dict[str, int]
    #: As submitted, without what may be secret: credentials, filled-in text, rows of data, source of scripts.
    spec: dict[str, Any]
