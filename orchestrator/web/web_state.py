"""What the endpoints work with, handed to the application by its maker; no globals."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from orchestrator.core.outbox import SlowLimits

from .ports import Artifacts, Audits, Feed, Fleet, Jobs, Proxies, ProxyTrials, Retry, Sessions, Status

if TYPE_CHECKING:
    from .fan_out import FanOut


@dataclass(frozen=True, kw_only=True)
class WebState:
    """`static` is the folder of the built frontend; without it a plain landing page is shown at `/`."""

    jobs: Jobs
    sessions: Sessions
    retry: Retry
    audits: Audits
    artifacts: Artifacts
    fleet: Fleet
    proxies: Proxies
    proxy_trials: ProxyTrials
    status: Status
    feed: Feed
    static: Path | None = None
    version: str = ""
    limits: SlowLimits = field(default_factory=SlowLimits)


def web(connection: HTTPConnection) -> WebState:
    return cast(WebState, connection.state.web)


def fan_out(connection: HTTPConnection) -> FanOut:
    return cast("FanOut", connection.state.fan_out)
