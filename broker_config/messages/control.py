"""`job.control.<job>` and `runner.control.<runner>`: orders that must arrive at once."""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.grant import SignedGrant
from broker_config.kill import Kill
from broker_config.proxy_pool import ProxyTest, ProxyTrial

from .registration import PROTOCOL

JobCommand = Literal["cancel", "pause", "resume", "kill", "renew"]
RunnerCommand = Literal["pause", "resume", "drain", "restart", "stop_session", "reregister", "test_proxies"]


class JobControl(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → all runners that hold sessions of the job.

    `kill` says what a command `kill` covers. One of a project or of the fleet comes on `job.control.all`, for
    no job of its own. `renew` brings new `grants` for sessions that run: one for each set of origins.
    """

    job: str
    command: JobCommand
    protocol: int = PROTOCOL
    reason: str = ""
    kill: Kill | None = None
    grants: list[SignedGrant] = []


class RunnerControl(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → one runner, as a request; `job` and `session` are for `stop_session`, `trial` is for
    `test_proxies`, which is answered when it is done."""

    command: RunnerCommand
    protocol: int = PROTOCOL
    job: str = ""
    session: int = 0
    reason: str = ""
    trial: ProxyTrial | None = None


class ControlReply(msgspec.Struct, frozen=True, kw_only=True):
    """`tested` holds the tests of `test_proxies`, in the order of the pool."""

    ok: bool
    detail: str = ""
    protocol: int = PROTOCOL
    tested: list[ProxyTest] = []
