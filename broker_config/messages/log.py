"""`job.log.<job>.<runner>`: what happens in a session, live and not kept."""

from __future__ import annotations

from typing import Literal

import msgspec

from .registration import own_protocol

LogEvent = Literal["started", "step", "retry", "finished", "line"]


class JobLog(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    job: str
    runner: str
    session: int
    attempt: int
    at: float
    event: LogEvent
    protocol: int = msgspec.field(default_factory=own_protocol)
    level: Literal["debug", "info", "warning", "error"] = "info"
    text: str = ""
    platform: str = ""
