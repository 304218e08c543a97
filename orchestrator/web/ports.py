"""What the web side needs of the rest of the orchestrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from broker_config.api import Health, JobPage, PlatformView, RunnerView, SessionPage
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
