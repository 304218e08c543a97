"""What the web side and its clients say to each other: bodies of `/api/v1` and messages of `/ws`.

Part of the contract, so that the command line and other clients share the types. New fields have defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .job import Cell, ErrorExample, Job, StepCell, Timeline
from .messages import (
    AuditEntry,
    Counts,
    ErrorInfo,
    JobLog,
    JobProgress,
    JobState,
    Measures,
    PlatformOffer,
    RunnerState,
    RunningSession,
    SessionStatus,
    Verdict,
)
from .people import DEFAULT_PROJECT
from .proxy_pool import ProxyTest
from .report import ReportThreshold
from .sketch import Sketch

API_PREFIX = "/api/v1"


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /jobs/<id>`, and the answer to submit, pause, resume and cancel."""

    job: Job
    progress: JobProgress


class JobDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /jobs/<id>/detail`: all groups and the timeline, as last checkpointed (about a second old)."""

    job: str
    seq: int
    total: Cell
    targets: dict[str, Cell]
    platforms: dict[str, Cell]
    timeline: Timeline
    errors: dict[str, int]
    #: Metrics without the sessions that ran while their machine was saturated; empty where none did.
    calm: dict[str, Sketch] = {}
    steps: dict[str, StepCell] = {}
    #: Sessions that ran, by the platform that was asked for and the one that they got.
    got: dict[str, dict[str, int]] = {}
    thresholds: list[ReportThreshold] = []
    #: The first sessions of each kind of error, and how many sessions went through each proxy.
    examples: dict[str, list[ErrorExample]] = {}
    upstreams: dict[str, int] = {}


#: `GET /jobs/<id>/report?format=…`; `json` is a `broker_config.report.Report`.
ReportFormat = Literal["html", "json", "junit", "csv"]


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `GET /jobs`."""

    id: str
    name: str
    state: JobState
    submitted_at: float
    planned: int
    ended: int
    ok: int
    failed: int
    verdict: Verdict | None = None
    reason: str = ""
    waiting_for: list[str] = []
    project: str = DEFAULT_PROJECT
    submitted_by: str = ""


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next` is the cursor of the next page, or None on the last one."""

    items: list[JobRow]
    next: str | None = None


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that an audit found. `session` and `seq` are 0 where it is not about one."""

    kind: str
    text: str
    session: int = 0
    seq: int = 0
    #: False for a note, such as a superseded attempt.
    fault: bool = True


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /jobs/<id>/audit`: the job's totals, derived anew from the stream. `agrees` is False where what is
    said of the job differs."""

    job: str
    agrees: bool
    records: int
    counts: Counts
    found: dict[str, int]
    findings: list[AuditFinding]


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One terminal record. `counted` is False for an attempt that came after the counted one."""

    session: int
    attempt: int
    status: SessionStatus
    counted: bool
    seq: int
    target: str = ""
    platform: str = ""
    asked: str | None = None
    runner: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    duration_ms: float = 0.0
    saturated: bool = False
    error: ErrorInfo | None = None
    measures: Measures = msgspec.field(default_factory=Measures)
    #: How much after its time an open-model session started, ms.
    start_error_ms: float | None = None
    #: Proxies that its traffic went through, in order; `direct` stands for none.
    upstreams: list[str] = []


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """In the order in which they ended. `next` continues, or is None at the present end."""

    items: list[SessionRow]
    next: str | None = None


class ArtifactView(msgspec.Struct, frozen=True, kw_only=True):
    """One stored artifact. Its content is at `GET /artifacts/<name>`; times are seconds since 1970."""

    name: str
    session: int
    attempt: int
    file: str
    kind: str
    bytes: int
    expires_at: float | None = None


class ArtifactPage(msgspec.Struct, frozen=True, kw_only=True):
    """By session, attempt and file. `next` continues, or is None on the last page."""

    items: list[ArtifactView]
    next: str | None = None


class SocketTicket(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /socket-tickets`. `protocols` are what a browser hands to `new WebSocket(url, protocols)`."""

    ticket: str
    protocols: list[str]


class RunnerView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    state: RunnerState
    slots: int
    busy: int
    platforms: list[PlatformOffer]
    last_seen: float
    instance: str = ""
    pool: str | None = None
    labels: dict[str, str] = {}
    version: str = ""
    hostname: str = ""
    started_at: float = 0.0
    cpu: float = 0.0
    cpu_own: float = 0.0
    memory_used: int = 0
    memory_own: int = 0
    saturated: bool = False
    sessions_done: int = 0
    running: list[RunningSession] = []
    #: It runs scripts of users.
    scripts: bool = False


class RunnerList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[RunnerView]


class PlatformView(msgspec.Struct, frozen=True, kw_only=True):
    """A platform that at least one online runner offers now. A runner's free slots count for each of its
    platforms, so the sum over platforms can be more than the fleet has."""

    platform: str
    runners: int
    slots: int
    free: int


class PlatformList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[PlatformView]


class ProxyView(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy of a pool, without its credentials: `credentials` says whether it has any. `tested` is its last
    test."""

    proxy: str
    enabled: bool
    credentials: bool
    tested: ProxyTest | None = None


class ProxyPoolRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `GET /proxies`. Of the enabled ones, `working` and `failing` are those whose last test
    says so."""

    name: str
    proxies: int
    enabled: int
    working: int
    failing: int
    changed_at: float


class ProxyPoolList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[ProxyPoolRow]


class ProxyPoolView(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /proxies/<name>`, and the answer to a change of its proxies."""

    name: str
    changed_at: float
    proxies: list[ProxyView]


class ProxyLines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PUT /proxies/<name>` (the pool is these) and `POST /proxies/<name>/lines` (these are added): TXT or
    CSV, a proxy a line."""

    lines: str


class ProxyImport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines. `changed` are those that have other passwords now; `problems` names each line
    that was not taken, and why."""

    pool: ProxyPoolRow
    added: int
    changed: int
    problems: list[dict[str, str]]


class ProxySwitch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /proxies/<name>`: enable or disable the proxies that are named as `host:port` or by their URL;
    `all` of them."""

    enabled: bool
    proxies: list[str] = []
    all: bool = False


class ProxyTestOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /proxies/<name>/test`: from index `first` on, some proxies of the pool. Without `url` nobody but
    the proxy is talked to. Without `runner` any one that is online tests."""

    url: str = ""
    runner: str = ""
    first: Annotated[int, msgspec.Meta(ge=0)] = 0


class ProxyTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """`next` is the index to go on from, or None at the end of the pool."""

    runner: str
    items: list[ProxyView]
    next: int | None = None


class AuditEntryPage(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /audit`: newest first. `next` continues with older ones, or is None at the first entry; a page may
    have fewer items than were asked for, and still a next one."""

    items: list[AuditEntry]
    next: str | None = None


class AuditTail(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /audit/tail`: oldest first. `last` is the number to go on after; it grows over what the filter
    leaves out too."""

    items: list[AuditEntry]
    last: int


class ChainBreak(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the chain of the audit log does not hold: at which entry, and what is wrong there."""

    number: int
    what: str


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /audit/verify`. `head` is the hash of the newest entry, to be noted elsewhere; `after_noted` is
    how many entries came after the head that the check was given, None where it was given none."""

    holds: bool
    entries: int
    head: str
    #: The first hundred.
    breaks: list[ChainBreak]
    after_noted: int | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /health` (alive) and `GET /ready` (can take jobs; 503 with the same body if not)."""

    status: Literal["ok", "unavailable"]
    version: str = ""
    broker: str = ""
    conductor: str = ""
    detail: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, `application/problem+json`. `errors` names each wrong field."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: list[dict[str, str]] = []


# --- secrets -----------------------------------------------------------------------------------------------


class SecretValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most 64 KiB of UTF-8, at least 4 characters."""

    value: Annotated[str, msgspec.Meta(min_length=4, max_length=65536)]

    def __repr__(self) -> str:
        return "SecretValue(…)"


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored secret. Nothing gives its value back."""

    name: str
    #: Seconds since 1970.
    set_at: float
    #: Name of the user who has set it; empty where nobody had to say who it is.
    set_by: str = ""


class SecretList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SecretView]


# --- /ws ---------------------------------------------------------------------------------------------------


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="subscribe"):
    """Client → server. `since` maps job ids to the last `seq` seen, to resume; `logs` asks for `job.log` too;
    `fleet` for runners and platforms."""

    jobs: list[str] = []
    fleet: bool = False
    logs: bool = False
    since: dict[str, int] = {}


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="unsubscribe"):
    """Client → server."""

    jobs: list[str] = []
    fleet: bool = False


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="snapshot"):
    """Server → client: the first message on a job. After it the tail has every newer state, conflated.

    `recovered` answers `since`: True when nothing was missed or all that was missed follows, False when the
    client starts anew from here, None when it did not ask.
    """

    job: str
    seq: int
    progress: JobProgress
    recovered: bool | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """Server → client: a newer state of the job."""

    job: str
    seq: int
    progress: JobProgress


class Log(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="log"):
    """Server → client: one event of a session, live only."""

    log: JobLog


class Fleet(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="fleet"):
    """Server → client: runners and platforms, at most one a second."""

    seq: int
    runners: list[RunnerView]
    platforms: list[PlatformView]


class SocketProblem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="problem"):
    """Server → client: a message could not be carried out; the socket stays open."""

    detail: str
    job: str = ""
    #: The broker is away or elects a leader: the same may work in a moment.
    again: bool = False


ClientMessage = Subscribe | Unsubscribe
ServerMessage = Snapshot | Progress | Log | Fleet | SocketProblem
