"""The parts that the web side stands on, kept in memory: for tests of the web side alone."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from nats.aio.client import Client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from broker_config import codec
from broker_config.api import (
    AuditEntryPage,
    AuditTail,
    ChainReport,
    Health,
    JobPage,
    JobRow,
    PlatformView,
    ProxyTestReport,
    RunnerView,
    ServerMessage,
    SessionPage,
    SessionRow,
    Subscribe,
)
from broker_config.errors import BrokerUnavailable, Conflict, IllegalTransition, JobNotFound, SpecError
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec, read_spec
from broker_config.messages import Counts, JobProgress, JobState, PlatformOffer, RunningSession
from broker_config.people import DEFAULT_PROJECT
from broker_config.seal import Seal
from broker_config.subjects import job_progress
from orchestrator.bus.artifacts import Artifacts
from orchestrator.bus.jet import Jet
from orchestrator.bus.kill_switch import KillSwitch
from orchestrator.bus.no_enrolment import NoEnrolment
from orchestrator.bus.progress_feed import ProgressFeed
from orchestrator.bus.proxy_store import ProxyStore
from orchestrator.bus.secret_store import SecretStore
from orchestrator.bus.socket_tickets import SocketTickets
from orchestrator.core import admission, job_machine
from orchestrator.core.access import Principal
from orchestrator.core.audit import AuditReport, Finding
from orchestrator.core.audit_filter import AuditFilter
from orchestrator.core.audit_note import AuditNote
from orchestrator.core.outbox import SlowLimits
from orchestrator.core.served_names import ServedNames
from orchestrator.web.app import create_app
from orchestrator.web.rate_limit import RateLimits
from orchestrator.web.server import WebServer
from orchestrator.web.web_state import WebState
from tests.support.callers import ADMIN, MemoryAuthenticator, MemoryProjects
from tests.support.target_parts import target_guard

SEAL = Seal(bytes(32))
NO_LIMITS = RateLimits(api=0, submits=0, sockets=0, logins=0)
_ids = itertools.count(1)
SPEC: dict[str, Any] = {"targets": [{"url": "http://localhost:8000/"}], "sessions": 5}


def new_id() -> str:
    """An id that no other test of this process uses."""
    return f"webjob-{next(_ids):05d}"


class MemoryJobs:
    """`fault` is raised by every call while it is set; `reads` counts the calls of `get`."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, tuple[str, JobSpec]] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.fault: Exception | None = None
        self.reads = 0
        #: Called in the middle of each reading of a checkpoint.
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def add(self, id: str = "", state: JobState = "running", project: str = DEFAULT_PROJECT) -> str:
        id = id or new_id()
        self.jobs[id] = Job(id=id, spec=read_spec(SPEC), state=state, submitted_at=1.0, project=project)
        return id

    def save(self, progress: JobProgress) -> None:
        """The conductor's checkpoint."""
        seq = progress.seq
        self.checkpoints[progress.job] = Checkpoint(job=progress.job, progress_seq=seq, progress=progress)

    async def submit(
        self,
        spec: JobSpec,
        *,
        source: str,
        idempotency_key: str | None,
        project: str = DEFAULT_PROJECT,
        submitted_by: str = "",
    ) -> tuple[Job, bool]:
        self._check()
        if idempotency_key in self.keys:
            id, earlier = self.keys[idempotency_key]
            if earlier != spec:
                raise Conflict("the idempotency key was used for another spec")
            return self.jobs[id], False
        job = Job(
            id=new_id(),
            spec=spec,
            state="queued",
            submitted_at=1.0,
            source=source,
            project=project,
            submitted_by=submitted_by,
        )
        self.jobs[job.id] = job
        if idempotency_key:
            self.keys[idempotency_key] = job.id, spec
        return job, True

    async def check(self, spec: JobSpec, project: str = DEFAULT_PROJECT) -> None:
        self._check()
        if refused := admission.problems(spec, ()):
            raise SpecError(refused)

    async def get(self, job: str) -> Job:
        self._check()
        self.reads += 1
        if job not in self.jobs:
            raise JobNotFound.of(job)
        return self.jobs[job]

    async def page(
        self,
        *,
        cursor: str | None,
        limit: int,
        state: str | None,
        projects: Collection[str] | None = None,
    ) -> JobPage:
        self._check()
        ids = sorted((i for i in self.jobs if cursor is None or i < cursor), reverse=True)
        jobs = [j for i in ids if state in (None, (j := self.jobs[i]).state)]
        jobs = [j for j in jobs if projects is None or j.project in projects]
        rows = [
            JobRow(
                id=j.id,
                name="job",
                state=j.state,
                submitted_at=1.0,
                planned=5,
                ended=0,
                ok=0,
                failed=0,
                project=j.project,
            )
            for j in jobs[:limit]
        ]
        return JobPage(items=rows, next=rows[-1].id if len(jobs) > limit else None)

    async def command(self, job: str, command: Literal["cancel", "pause", "resume"], reason: str = "") -> Job:
        self.jobs[job] = job_machine.command(await self.get(job), command, reason)
        return self.jobs[job]

    async def checkpoint(self, job: str) -> Checkpoint | None:
        self._check()
        found = self.checkpoints.get(job)
        if self.meanwhile is not None:
            await self.meanwhile()
        return found

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault


class MemorySessions:
    def __init__(self, count: int = 0) -> None:
        self.rows = [
            SessionRow(session=n, attempt=1, status="ok" if n % 2 else "failed", counted=True, seq=n)
            for n in range(1, count + 1)
        ]

    async def page(self, job: str, *, cursor: str | None, limit: int, status: str | None) -> SessionPage:
        after = int(cursor or 0)
        rows = [r for r in self.rows if r.seq > after and status in (None, r.status)]
        return SessionPage(items=rows[:limit], next=str(rows[limit - 1].seq) if len(rows) > limit else None)

    async def counted(self, job: str) -> AsyncIterator[list[SessionRow]]:
        for i in range(0, len(self.rows), 100):
            yield self.rows[i : i + 100]


class MemoryFleet:
    def __init__(self) -> None:
        self.version = 0
        self._views: dict[str, RunnerView] = {}
        self._changed = asyncio.Event()

    def put(self, id: str, busy: int = 0, running: Sequence[str] = ()) -> None:
        offers = [PlatformOffer(platform="linux-chromium")]
        self._views[id] = RunnerView(
            id=id,
            state="online",
            slots=4,
            busy=busy,
            platforms=offers,
            last_seen=1.0,
            running=[RunningSession(job=j, session=1, attempt=1) for j in running],
        )
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_changed(self, after: int) -> int:
        while self.version <= after:
            await self._changed.wait()
        return self.version

    def runners(self) -> list[RunnerView]:
        return list(self._views.values())

    def runner(self, id: str) -> RunnerView | None:
        return self._views.get(id)

    def platforms(self) -> list[PlatformView]:
        free = sum(v.slots - v.busy for v in self._views.values())
        slots = sum(v.slots for v in self._views.values())
        if not slots:
            return []
        return [PlatformView(platform="linux-chromium", runners=len(self._views), slots=slots, free=free)]


class MemoryStatus:
    is_ready = True

    def health(self) -> Health:
        return Health(status="ok", version="test")

    async def ready(self) -> Health:
        return Health(status="ok") if self.is_ready else Health(status="unavailable", detail="no broker")


class Stage:
    """A served application and everything behind it."""

    def __init__(self, server: WebServer, nc: Client, state: WebState) -> None:
        self.server = server
        self.nc = nc
        self.state = state
        assert isinstance(state.jobs, MemoryJobs)
        assert isinstance(state.fleet, MemoryFleet)
        assert isinstance(state.sessions, MemorySessions)
        assert isinstance(state.status, MemoryStatus)
        assert isinstance(state.authenticator, MemoryAuthenticator)
        assert isinstance(state.projects, MemoryProjects)
        self.people = state.authenticator
        self.projects = state.projects
        self.jobs = state.jobs
        self.fleet = state.fleet
        self.sessions = state.sessions
        self.status = state.status

    @property
    def api(self) -> str:
        return f"{self.server.url}/api/v1"

    @property
    def ws_url(self) -> str:
        return f"ws{self.server.url.removeprefix('http')}/ws"

    async def publish(self, *progress: JobProgress) -> None:
        """As the conductor does; each one alone on the wire when this has returned."""
        for p in progress:
            await self.nc.publish(job_progress(p.job), codec.encode(p))
        await self.nc.flush()


class MemoryRetry:
    async def retry(self, job: str, *, source: str = "api", submitted_by: str = "") -> Job:
        raise IllegalTransition(f"job {job} has nothing to retry")


class MemoryTrials:
    async def test(self, name: str, *, first: int, url: str, runner: str) -> ProxyTestReport:
        raise BrokerUnavailable("no runner is online to test the pool from")


class MemoryAudits:
    async def audit(self, job_id: str) -> AuditReport:
        if job_id != "webjob-audited":
            raise JobNotFound.of(job_id)
        finding = Finding(kind="totals", text="one is missing", session=3, seq=7)
        return AuditReport(
            job=job_id, records=4, counts=Counts(planned=5, ok=4), found={"totals": 1}, findings=[finding]
        )


class MemoryAuditLog:
    """`notes` are those that were taken; `full` refuses what would change something."""

    def __init__(self) -> None:
        self.notes: list[AuditNote] = []
        self.full = False

    def check_room(self) -> None:
        if self.full:
            raise BrokerUnavailable("the audit log takes no more")

    def note(self, note: AuditNote) -> Awaitable[object]:
        self.notes.append(note)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def page(self, *, before: int | None, limit: int, only: AuditFilter) -> AuditEntryPage:
        return AuditEntryPage(items=[])

    async def tail(self, *, after: int | None, limit: int, only: AuditFilter, wait: float) -> AuditTail:
        return AuditTail(items=[], last=after or 0)

    async def verify(self, noted: str = "") -> ChainReport:
        return ChainReport(holds=True, entries=0, head="", breaks=[])

    async def export(self) -> AsyncIterator[bytes]:
        yield b""


@asynccontextmanager
async def stage(
    nc: Client,
    *,
    limits: SlowLimits | None = None,
    sessions: int = 0,
    anonymous: Principal = ADMIN,
    rates: RateLimits = NO_LIMITS,
    names: ServedNames = ServedNames(),  # noqa: B008  it cannot be changed
    tls: ssl.SSLContext | None = None,
    static: Path | None = None,
) -> AsyncIterator[Stage]:
    """Open to everybody unless `anonymous` says otherwise: most tests are not about rights."""
    jobs = MemoryJobs()
    state = WebState(
        jobs=jobs,
        sessions=MemorySessions(sessions),
        retry=MemoryRetry(),
        audits=MemoryAudits(),
        audit_log=MemoryAuditLog(),
        kills=KillSwitch(Jet(nc), clock=time.time),
        artifacts=Artifacts(Jet(nc), jobs.get),
        fleet=MemoryFleet(),
        proxies=ProxyStore(Jet(nc), SEAL, clock=time.time),
        proxy_trials=MemoryTrials(),
        secrets=SecretStore(Jet(nc), SEAL, clock=time.time),
        targets=target_guard(Jet(nc)),
        status=MemoryStatus(),
        feed=ProgressFeed(nc),
        authenticator=MemoryAuthenticator(),
        projects=MemoryProjects(),
        tickets=SocketTickets(Jet(nc)),
        enrolment=NoEnrolment(),
        anonymous=anonymous,
        names=names,
        rates=rates,
        static=static,
        limits=limits or SlowLimits(),
        version="1.2.3",
    )
    async with WebServer(create_app(state), stop_within=1.0, tls=tls) as server:
        yield Stage(server, nc, state)


def progress(job: str, seq: int, state: JobState = "running", ok: int = 0, text: str = "") -> JobProgress:
    return JobProgress(
        job=job, seq=seq, at=float(seq), state=state, counts=Counts(planned=5, ok=ok), reason=text
    )


class Socket:
    """A client of `/ws` that speaks in messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def subscribe(
        self, *jobs: str, fleet: bool = False, logs: bool = False, since: dict[str, int] | None = None
    ) -> None:
        message = Subscribe(jobs=list(jobs), fleet=fleet, logs=logs, since=since or {})
        await self.connection.send(codec.encode(message).decode())

    async def receive(self, within: float = 5.0) -> Any:
        async with asyncio.timeout(within):
            data = await self.connection.recv()
        return msgspec.json.decode(data, type=ServerMessage)

    async def until_closed(self, within: float = 10.0) -> list[Any]:
        """All that comes until the server closes or cuts the connection."""
        got = []
        async with asyncio.timeout(within):
            try:
                while True:
                    got.append(msgspec.json.decode(await self.connection.recv(), type=ServerMessage))
            except ConnectionClosed:
                return got


@asynccontextmanager
async def socket(stage: Stage, **options: Any) -> AsyncIterator[Socket]:
    async with connect(stage.ws_url, compression=None, max_queue=None, **options) as connection:
        yield Socket(connection)
