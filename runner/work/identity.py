"""Who this runner is, as the orchestrator gets to know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec

from broker_config.messages import Heartbeat, PlatformOffer, RegisterRequest, RunnerState

from .machine import Usage
from .running import Running


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`instance` is new at each start of the process; `platforms` is asked each time."""

    runner: str
    instance: str
    hostname: str
    slots: int
    cores: int
    memory_bytes: int
    started_at: float
    platforms: Callable[[], Sequence[PlatformOffer]]
    labels: dict[str, str] = {}
    pool: str | None = None
    version: str = ""
    scripts: bool = False

    def request(self) -> RegisterRequest:
        return RegisterRequest(
            runner=self.runner,
            instance=self.instance,
            platforms=list(self.platforms()),
            slots=self.slots,
            labels=self.labels,
            pool=self.pool,
            version=self.version,
            hostname=self.hostname,
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            scripts=self.scripts,
        )

    def heartbeat(
        self, at: float, state: RunnerState, usage: Usage, running: Running, *, saturated: bool
    ) -> Heartbeat:
        return Heartbeat(
            runner=self.runner,
            instance=self.instance,
            at=at,
            state=state,
            slots=self.slots,
            busy=len(running),
            platforms=list(self.platforms()),
            pool=self.pool,
            labels=self.labels,
            version=self.version,
            hostname=self.hostname,
            started_at=self.started_at,
            cpu=usage.cpu,
            cpu_own=usage.cpu_own,
            memory_used=usage.memory_used,
            memory_own=usage.memory_own,
            saturated=saturated,
            sessions_done=running.done,
            running=running.as_messages(),
            scripts=self.scripts,
        )


def own_version() -> str:
    """Of the installed distribution; empty where the code runs without one."""
    try:
        return version("trafficbuster")
    except PackageNotFoundError:
        return ""
