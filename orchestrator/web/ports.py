"""What the web side needs of the rest of the orchestrator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, Protocol

from broker_config.api import (
    ArtifactPage,
    ArtifactView,
    Health,
    JobPage,
    PlatformView,
    ProxyImport,
    ProxyPoolRow,
    ProxyPoolView,
    ProxyTestReport,
    RunnerView,
    SessionPage,
    SessionRow,
)
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec
from broker_config.messages import JobLog, JobProgress
from orchestrator.core.audit import AuditReport


class Jobs(Protocol):
    """Every call may raise `BrokerUnavailable`."""

    async def submit(self, spec: JobSpec, *, source: str, idempotency_key: str | None) -> tuple[Job, bool]:
        """The job, and True if it was newly made. Raises `Conflict` (the key was used for another spec) and
        `StreamFull`."""
        ...

    async def check(self, spec: JobSpec) -> None:
        """Raises what `submit` would raise of the spec, and stores nothing."""
        ...

    async def get(self, job: str) -> Job:
        """Raises `JobNotFound`."""
        ...

    async def page(self, *, cursor: str | None, limit: int, state: str | None) -> JobPage: ...

    async def command(self, job: str, command: Literal["cancel", "pause", "resume"], reason: str = "") -> Job:
        """Raises `JobNotFound` and `IllegalTransition`."""
        ...

    async def checkpoint(self, job: str) -> Checkpoint | None: ...


class Retry(Protocol):
    async def retry(self, job: str, *, source: str = "api") -> Job:
        """Raises `JobNotFound`, `IllegalTransition`, and what `Jobs.submit` raises."""
        ...


class Audits(Protocol):
    async def audit(self, job_id: str) -> AuditReport:
        """Raises `JobNotFound`."""
        ...


class Sessions(Protocol):
    async def page(self, job: str, *, cursor: str | None, limit: int, status: str | None) -> SessionPage: ...

    def counted(self, job: str) -> AsyncIterator[list[SessionRow]]:
        """The counted records, some hundreds at a time. Raises `JobNotFound`."""
        ...


class Artifacts(Protocol):
    async def page(
        self, job: str, *, cursor: str | None, limit: int, session: int | None = None
    ) -> ArtifactPage:
        """Raises `JobNotFound`."""
        ...

    async def get(self, name: str) -> tuple[ArtifactView, AsyncIterator[bytes]]:
        """Raises `ArtifactNotFound`."""
        ...


class Fleet(Protocol):
    """The runners as their heartbeats show them."""

    @property
    def version(self) -> int:
        """Grows with each change."""
        ...

    async def wait_changed(self, after: int) -> int:
        """Wait until `version` is above `after`; returns it."""
        ...

    def runners(self) -> list[RunnerView]: ...

    def runner(self, id: str) -> RunnerView | None: ...

    def platforms(self) -> list[PlatformView]: ...


class Proxies(Protocol):
    """Pools of proxies. Every call may raise `BrokerUnavailable`; those that name a pool, `PoolNotFound`."""

    async def pools(self) -> list[ProxyPoolRow]: ...

    async def view(self, name: str) -> ProxyPoolView: ...

    async def take(self, name: str, text: str, *, replace: bool) -> ProxyImport:
        """Raises `SpecError` and `StreamFull`."""
        ...

    async def switch(self, name: str, proxies: Sequence[str] | None, *, enabled: bool) -> ProxyPoolView:
        """Raises `SpecError`. None is all."""
        ...

    async def remove(self, name: str) -> None: ...


class ProxyTrials(Protocol):
    async def test(self, name: str, *, first: int, url: str, runner: str) -> ProxyTestReport:
        """Raises `PoolNotFound`, `SpecError`, `Conflict` and `BrokerUnavailable`."""
        ...


class Status(Protocol):
    def health(self) -> Health: ...

    async def ready(self) -> Health: ...


class Watch(Protocol):
    async def close(self) -> None: ...


class Feed(Protocol):
    """Live messages of a job; `orchestrator.bus.progress_feed.ProgressFeed`."""

    @property
    def breaks(self) -> int:
        """Grows when messages may have been missed."""
        ...

    async def progress(self, job: str, on_progress: Callable[[JobProgress], None]) -> Watch:
        """All that is published after this has returned. Raises `BrokerUnavailable`."""
        ...

    async def logs(self, job: str, on_log: Callable[[JobLog], None]) -> Watch: ...
