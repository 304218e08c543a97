"""`job.control.<job>` and `runner.control.<runner>`: orders that must arrive at once."""

from __future__ import annotations

from typing import Literal

import msgspec

from .registration import PROTOCOL

JobCommand = Literal["cancel", "pause", "resume"]
RunnerCommand = Literal["pause", "resume", "drain", "restart", "stop_session", "reregister"]


class JobControl(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → all runners that hold sessions of the job."""

    job: str
    command: JobCommand
    protocol: int = PROTOCOL
    reason: str = ""


class RunnerControl(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → one runner, as a request; `job` and `session` are for `stop_session`."""

    command: RunnerCommand
    protocol: int = PROTOCOL
    job: str = ""
    session: int = 0
    reason: str = ""


class ControlReply(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    detail: str = ""
    protocol: int = PROTOCOL
