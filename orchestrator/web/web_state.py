"""What the endpoints work with, handed to the application by its maker; no globals."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from orchestrator.core.access import ANONYMOUS, Principal
from orchestrator.core.outbox import SlowLimits
from orchestrator.core.served_names import ServedNames

from .ports import (
    Artifacts,
    AuditLog,
    Audits,
    Authenticator,
    Enrolment,
    Feed,
    Fleet,
    Jobs,
    KillSwitch,
    Projects,
    Proxies,
    ProxyTrials,
    Retry,
    Secrets,
    Sessions,
    SocketTickets,
    Status,
    Targets,
)

if TYPE_CHECKING:
    from .fan_out import FanOut
    from .job_projects import JobProjects
    from .people_state import People
    from .rate_limit import RateLimit, RateLimits
    from .socket_watch import SocketWatch


@dataclass(frozen=True, kw_only=True)
class WebState:
    """`static` is the folder of the built frontend; without it a plain landing page is shown at `/`."""

    jobs: Jobs
    sessions: Sessions
    retry: Retry
    audits: Audits
    audit_log: AuditLog
    kills: KillSwitch
    artifacts: Artifacts
    fleet: Fleet
    proxies: Proxies
    proxy_trials: ProxyTrials
    secrets: Secrets
    targets: Targets
    status: Status
    feed: Feed
    enrolment: Enrolment
    authenticator: Authenticator
    projects: Projects
    tickets: SocketTickets
    people: People | None = None
    #: What those may do whose credentials nobody knows, because they sent none.
    anonymous: Principal = ANONYMOUS
    names: ServedNames = field(default_factory=ServedNames)
    #: None is those that settings have where they say nothing.
    rates: RateLimits | None = None
    static: Path | None = None
    version: str = ""
    limits: SlowLimits = field(default_factory=SlowLimits)


def web(connection: HTTPConnection) -> WebState:
    return cast(WebState, connection.state.web)


def fan_out(connection: HTTPConnection) -> FanOut:
    return cast("FanOut", connection.state.fan_out)


def job_projects(connection: HTTPConnection) -> JobProjects:
    return cast("JobProjects", connection.state.job_projects)


def rate_limit(connection: HTTPConnection) -> RateLimit:
    return cast("RateLimit", connection.state.rate_limit)


def socket_watch(connection: HTTPConnection) -> SocketWatch:
    return cast("SocketWatch", connection.state.socket_watch)
