"""Terminal records in the stream PROGRESS: what the accounting is made of.

A runner writes `SessionRecord` on `job.progress.<job>.<runner>`; the conductor writes `ConductorRecord` on
`job.progress.<job>.conductor` for sessions that no runner will report.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from broker_config.artifacts import ArtifactInfo

from .registration import own_protocol

#: `dropped`: its start time passed before anyone could run it (open-model loads).
SessionStatus = Literal["ok", "failed", "cancelled", "lost", "dropped"]
#: What the conductor may say of sessions. `unused`: a number that the load's time left over; nothing was
#: planned under it, so it counts nowhere.
OwedStatus = Literal["ok", "failed", "cancelled", "lost", "dropped", "unused"]
#: Bounds on what a record may say: no number in it can break who sums them.
Measure = Annotated[float, Meta(ge=0, le=1e12)]
Moment = Annotated[float, Meta(ge=0, le=1e11)]
Whole = Annotated[int, Meta(ge=0, lt=2**53)]
STATUSES: tuple[SessionStatus, ...] = get_args(SessionStatus)


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a session did not end ok. `kind` is a class of `docs/errors.md`, such as `http_status`."""

    kind: str
    detail: str = ""
    #: True where the cause lies with runner, browser or egress, not with the site.
    infrastructure: bool = False


class Measures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one session measured. Times in ms, sizes in bytes; a value that was not seen is left out."""

    http_status: Whole | None = None
    ttfb: Measure | None = None
    dcl: Measure | None = None
    load: Measure | None = None
    fcp: Measure | None = None
    lcp: Measure | None = None
    cls: Measure | None = None
    inp: Measure | None = None
    bytes: Whole | None = None
    requests: Whole | None = None
    failed_requests: Whole | None = None
    console_errors: Whole | None = None


class PageMeasures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several pages of a session; `url` is without query and fragment."""

    url: str
    measures: Measures = msgspec.field(default_factory=Measures)


class StepRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a journey, with a page that it led to loaded."""

    name: str
    ms: Measure
    ok: bool = True
    error: str = ""


#: So many pages and steps of a session are reported.
MAX_PAGES = 20
MAX_STEPS = 100


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of one attempt at a session, by the runner that made it."""

    job: str
    session: Whole
    attempt: Whole
    status: SessionStatus
    runner: str
    instance: str = ""
    target: str = ""
    platform: str = ""
    asked: str | None = None
    protocol: int = msgspec.field(default_factory=own_protocol)
    started_at: Moment = 0.0
    ended_at: Moment = 0.0
    #: From the first browser call to the close of the context, ms.
    duration_ms: Measure = 0.0
    error: ErrorInfo | None = None
    #: The machine was short of CPU while this was measured: times may be too long.
    saturated: bool = False
    #: Of the first page.
    measures: Measures = msgspec.field(default_factory=Measures)
    #: All pages, where there were several; the first `MAX_PAGES`.
    pages: list[PageMeasures] = []
    #: Steps of the journey that were taken, in order.
    steps: list[StepRecord] = []
    #: How much after its time an open-model session started, ms.
    start_error_ms: Measure | None = None
    #: Proxies that its traffic went through, without credentials, in order; `direct` stands for none.
    upstreams: list[str] = []
    #: Requests that the egress gate refused, and those to third parties, by origin.
    refused: dict[str, Whole] = {}
    third_parties: dict[str, Whole] = {}
    artifacts: list[ArtifactInfo] = []
    #: Artifacts that were taken and not kept, because the job's bounds were reached.
    artifacts_left_out: Whole = 0


class ConductorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of sessions that no runner will report: `sessions` holds inclusive ranges `[first, last]`."""

    job: str
    sessions: list[tuple[Whole, Whole]]
    status: OwedStatus
    at: Moment
    protocol: int = msgspec.field(default_factory=own_protocol)
    #: Attempts that were made, where they are known and the same for all.
    attempt: Whole = 0
    error: ErrorInfo | None = None
