"""What the web side and its clients say to each other: bodies of `/api/v1` and messages of `/ws`.

Part of the contract, so that the command line and other clients share the types. New fields have defaults.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .job import Cell, Job, Timeline
from .messages import (
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


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """In the order in which they ended. `next` continues, or is None at the present end."""

    items: list[SessionRow]
    next: str | None = None


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


ClientMessage = Subscribe | Unsubscribe
ServerMessage = Snapshot | Progress | Log | Fleet | SocketProblem
