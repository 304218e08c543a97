"""Terminal records in the stream PROGRESS: what the accounting is made of.

A runner writes `SessionRecord` on `job.progress.<job>.<runner>`; the conductor writes `ConductorRecord` on
`job.progress.<job>.conductor` for sessions that no runner will report.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from .registration import own_protocol

#: `dropped`: its start time passed before anyone could run it (open-model loads).
SessionStatus = Literal["ok", "failed", "cancelled", "lost", "dropped"]
STATUSES: tuple[SessionStatus, ...] = get_args(SessionStatus)


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a session did not end ok. `kind` is a class of `docs/errors.md`, such as `http_status`."""

    kind: str
    detail: str = ""
    #: True where the cause lies with runner, browser or egress, not with the site.
    infrastructure: bool = False


class Measures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one session measured. Times in ms, sizes in bytes; a value that was not seen is left out."""

    http_status: int | None = None
    ttfb: float | None = None
    dcl: float | None = None
    load: float | None = None
    fcp: float | None = None
    lcp: float | None = None
    cls: float | None = None
    inp: float | None = None
    bytes: int | None = None
    requests: int | None = None
    failed_requests: int | None = None
    console_errors: int | None = None


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of one attempt at a session, by the runner that made it."""

    job: str
    session: int
    attempt: int
    status: SessionStatus
    runner: str
    instance: str = ""
    target: str = ""
    platform: str = ""
    asked: str | None = None
    protocol: int = msgspec.field(default_factory=own_protocol)
    started_at: float = 0.0
    ended_at: float = 0.0
    #: From the first browser call to the close of the context, ms.
    duration_ms: float = 0.0
    error: ErrorInfo | None = None
    #: The machine was short of CPU while this was measured: times may be too long.
    saturated: bool = False
    measures: Measures = msgspec.field(default_factory=Measures)


class ConductorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of sessions that no runner will report: `sessions` holds inclusive ranges `[first, last]`."""

    job: str
    sessions: list[tuple[int, int]]
    status: SessionStatus
    at: float
    protocol: int = msgspec.field(default_factory=own_protocol)
    #: Attempts that were made, where they are known and the same for all.
    attempt: int = 0
    error: ErrorInfo | None = None
