"""What the web side needs of the rest of the orchestrator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Literal, Protocol

from broker_config.api import (
    ArtifactPage,
    ArtifactView,
    AuditEntryPage,
    AuditTail,
    ChainReport,
    Health,
    JobPage,
    PlatformView,
    ProxyImport,
    ProxyPoolRow,
    ProxyPoolView,
    ProxyTestReport,
    RunnerView,
    SecretView,
    SessionPage,
    SessionRow,
)
from broker_config.enrolment import InviteOrder, InviteView, NewInvite, RunnerGrant, RunnerJoin
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec
from broker_config.kill import Kill
from broker_config.messages import JobLog, JobProgress
from broker_config.people import DEFAULT_PROJECT, Project
from broker_config.target_proof import ProofMethod, Target
from orchestrator.core.access import Principal
from orchestrator.core.audit import AuditReport
from orchestrator.core.audit_filter import AuditFilter
from orchestrator.core.audit_note import AuditNote
from orchestrator.core.kill import Kills


class Authenticator(Protocol):
    """Who it is that asks. Every call may raise `BrokerUnavailable`; `now` is in seconds since 1970.

    None stands for a credential that is not known, or holds no longer: it does not say which."""

    async def bearer(self, secret: str, now: float) -> Principal | None:
        """Of what stands behind `Authorization: Bearer`: an API token, or the machine's own credential."""
        ...

    async def cookie(self, secret: str, now: float) -> Principal | None:
        """Of the cookie of a login."""
        ...

    async def valid(self, principal: Principal, now: float) -> Principal | None:
        """The same principal with the rights that it has now; None if its credential has ended. Principals
        without a credential (`anonymous`) are never asked about."""
        ...

    @property
    def version(self) -> int:
        """Grows, within 2 s, with each change of users, projects, tokens and logins by anybody."""
        ...

    async def wait_changed(self, after: int) -> int:
        """Wait until `version` is above `after`; returns it."""
        ...


class Projects(Protocol):
    async def get(self, name: str) -> Project:
        """Raises `ProjectNotFound`; `default` is always there."""
        ...


class SocketTickets(Protocol):
    """Tickets for one handshake of `/ws` each, at any orchestrator."""

    async def issue(self, principal: Principal) -> str: ...

    async def redeem(self, ticket: str) -> Principal | None:
        """For whom it was issued; None if it is not known, too old, or was used before."""
        ...


class Jobs(Protocol):
    """Every call may raise `BrokerUnavailable`."""

    async def submit(
        self,
        spec: JobSpec,
        *,
        source: str,
        idempotency_key: str | None,
        project: str = DEFAULT_PROJECT,
        submitted_by: str = "",
    ) -> tuple[Job, bool]:
        """The job, and True if it was newly made. Raises `Conflict` (the key was used for another spec) and
        `StreamFull`."""
        ...

    async def check(self, spec: JobSpec, project: str = DEFAULT_PROJECT) -> None:
        """Raises what `submit` would raise of the spec, and stores nothing."""
        ...

    async def get(self, job: str) -> Job:
        """Raises `JobNotFound`."""
        ...

    async def page(
        self,
        *,
        cursor: str | None,
        limit: int,
        state: str | None,
        projects: Collection[str] | None = None,
    ) -> JobPage:
        """Newest first; only of `projects`, unless that is None."""
        ...

    async def command(self, job: str, command: Literal["cancel", "pause", "resume"], reason: str = "") -> Job:
        """Raises `JobNotFound` and `IllegalTransition`."""
        ...

    async def checkpoint(self, job: str) -> Checkpoint | None: ...


class Retry(Protocol):
    async def retry(self, job: str, *, source: str = "api", submitted_by: str = "") -> Job:
        """The new job is of the same project. Raises `JobNotFound`, `IllegalTransition`, and what
        `Jobs.submit` raises."""
        ...


class Audits(Protocol):
    async def audit(self, job_id: str) -> AuditReport:
        """Raises `JobNotFound`."""
        ...


class AuditLog(Protocol):
    """Who did what; `orchestrator.bus.audit_log.AuditLog`.

    Routes need not call it: what a `TypedRoute` names as `audits` is noted when it has answered, and so is
    every refusal. What happens outside of a route (a socket that is cut, a request that is refused before it
    finds its route) is noted by `orchestrator.web.audit_trail.note`, which adds who it is and from where.
    """

    def check_room(self) -> None:
        """Raises `BrokerUnavailable` or `StreamFull`, in words, where nothing more can be noted: then nothing
        may be changed either."""
        ...

    def note(self, note: AuditNote) -> Awaitable[object]:
        """Put it into the queue, at once; what comes back is done when it stands in the stream. It need not
        be awaited: it is written without. Never raises."""
        ...

    async def page(self, *, before: int | None, limit: int, only: AuditFilter) -> AuditEntryPage:
        """The newest entries whose number is below `before`, newest first. `next` is a number."""
        ...

    async def tail(self, *, after: int | None, limit: int, only: AuditFilter, wait: float) -> AuditTail:
        """Entries with a number above `after` (None: the newest there is), oldest first. Without one, wait
        for it, `wait` seconds at most."""
        ...

    async def verify(self, noted: str = "") -> ChainReport:
        """Read all of it and check the chain; `noted` is the hash of an entry that must be in it."""
        ...

    def export(self) -> AsyncIterator[bytes]:
        """All entries as they are stored, one a line, some hundreds at a time."""
        ...


class KillSwitch(Protocol):
    """Every call may raise `BrokerUnavailable`."""

    async def kill(self, kill: Kill) -> Kill:
        """The kill as it holds now: stored, and told to the runners."""
        ...

    async def lift(self, id: str) -> Kill:
        """Raises `KillNotFound`."""
        ...

    async def get(self, id: str) -> Kill:
        """Raises `KillNotFound`."""
        ...

    async def read(self) -> Kills:
        """Those that hold."""
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


class Secrets(Protocol):
    """Secrets of projects. Every call may raise `BrokerUnavailable`, and `ProjectNotFound` for what cannot be
    the name of one."""

    async def put(self, project: str, name: str, value: str, *, by: str = "") -> SecretView:
        """Raises `SpecError` and `StreamFull`."""
        ...

    async def all(self, project: str) -> list[SecretView]:
        """By name."""
        ...

    async def remove(self, project: str, name: str) -> None:
        """Raises `SecretNotFound`."""
        ...

    async def forget(self, project: str) -> None:
        """Remove all of a project."""
        ...


class TargetBook(Protocol):
    """Targets of projects. Every call may raise `BrokerUnavailable`, and `ProjectNotFound` for what cannot be
    the name of one; those that name a target `TargetNotFound`."""

    async def all(self, project: str) -> list[Target]:
        """By origin."""
        ...

    async def get(self, project: str, id: str) -> Target: ...

    async def add(self, project: str, origin: str, *, by: str = "") -> Target:
        """A new one, or the one that is there. Raises `SpecError` and `StreamFull`."""
        ...

    async def change(self, project: str, id: str, change: Callable[[Target], Target]) -> Target:
        """Raises `Conflict`."""
        ...

    async def remove(self, project: str, id: str) -> Target: ...

    async def forget(self, project: str) -> None:
        """Remove all of a project."""
        ...


class Targets(Protocol):
    @property
    def store(self) -> TargetBook: ...

    async def verify(self, project: str, id: str, method: ProofMethod | None = None) -> Target:
        """Look for the proof now; the target with what was found. Raises `TargetNotFound`."""
        ...


class ProxyTrials(Protocol):
    async def test(self, name: str, *, first: int, url: str, runner: str) -> ProxyTestReport:
        """Raises `PoolNotFound`, `SpecError`, `Conflict` and `BrokerUnavailable`."""
        ...


class Enrolment(Protocol):
    """Credentials of runners. Every call may raise `BrokerUnavailable`, and `BrokerIsOpen` where there are
    none."""

    async def invite(self, order: InviteOrder, by: str) -> NewInvite:
        """Raises `SpecError`."""
        ...

    async def invites(self) -> list[InviteView]: ...

    async def remove_invite(self, id: str) -> None:
        """Raises `InviteNotFound`."""
        ...

    async def join(self, wish: RunnerJoin, address: str) -> RunnerGrant:
        """Raises `JoinRefused` and `NameRefused`."""
        ...

    async def revoke(self, name: str, by: str) -> float:
        """When it was revoked; its connections are cut then. Raises `RunnerNotFound`."""
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
