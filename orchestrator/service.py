"""The orchestrator: all its parts, put together and taken down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from nats.aio.client import Client

from broker_config import connection
from broker_config.api import Health
from broker_config.contact import check_contact
from broker_config.errors import BrokerError, BrokerUnavailable
from broker_config.keyring import Keyring
from broker_config.provisioning import provision
from broker_config.seal import Seal
from broker_config.streams import PROGRESS

from .broker_entry import BrokerEntry
from .bus.account_push import AccountPush
from .bus.artifact_desk import ArtifactDesk
from .bus.artifacts import Artifacts
from .bus.audit_log import AuditLog
from .bus.auditor import Auditor
from .bus.conductor import Conductor
from .bus.enrolment import Enrolment
from .bus.fleet import Fleet
from .bus.jet import Jet
from .bus.job_retry import JobRetry
from .bus.job_store import JobStore
from .bus.kill_switch import KillSwitch
from .bus.leadership import Leadership
from .bus.local_admin import ensure_local_admin
from .bus.no_enrolment import NoEnrolment
from .bus.progress_feed import ProgressFeed
from .bus.proxy_sweep import ProxySweep
from .bus.proxy_trials import ProxyTrials
from .bus.quarantine import Quarantine
from .bus.registrar import Registrar
from .bus.secret_desk import SecretDesk
from .bus.session_log import SessionLog
from .bus.shared_keyring import shared_keyring
from .bus.socket_tickets import SocketTickets
from .bus.target_guard import TargetGuard
from .bus.target_prover import TargetProver
from .bus.target_store import TargetStore
from .core.ids import job_id
from .settings import OrchestratorConfig, grounds_of
from .web.app import STATIC, create_app
from .web.oidc_provider import OidcProvider
from .web.opening import Opening
from .web.people_state import People
from .web.ports import Enrolment as EnrolmentPort
from .web.server import WebServer
from .web.web_state import WebState

log = logging.getLogger(__name__)


class Orchestrator:
    """`async with Orchestrator(config) as o:` serves while the block runs; `o.url` is where.

    Raises `BrokerUnavailable`, `BrokerRefused`, `Incompatible` and `SettingsError` on the way in. If the
    broker is gone for good while it serves, the block is cancelled and the error comes out of it.
    """

    def __init__(self, config: OrchestratorConfig) -> None:
        self.config = config
        self.name = config.name or f"{socket.gethostname().split('.')[0]}-{os.getpid()}"
        self.url = ""
        self._stack: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Orchestrator:
        self._stack = self._serve()
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._stack is not None
        return await self._stack.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        closed = asyncio.Event()
        back = asyncio.Event()
        rng = random.SystemRandom()
        opening = Opening.of(self.config)
        entry = await asyncio.to_thread(BrokerEntry.of, self.config, self.name)
        clock = _steady_clock()
        async with (
            connection.connected(
                self.config.nats,
                name=f"orchestrator {self.name}",
                on_closed=closed.set,
                on_reconnected=back.set,
                login=entry.login,
                tls=entry.tls,
            ) as nc,
            # What runners say comes on a connection of its own: one that floods delays nothing else.
            connection.connected(
                self.config.nats,
                name=f"orchestrator {self.name}, runners",
                on_closed=closed.set,
                login=entry.login,
                tls=entry.tls,
            ) as ears,
        ):
            self._nc = nc
            await provision(nc, replicas=self.config.replicas)
            jet = Jet(nc)
            self.keyring = entry.keyring or await self._keys(jet)
            seal = Seal(self.keyring.seal, self.keyring.older_seals)
            kill_switch = KillSwitch(jet, clock=time.time)
            oidc = OidcProvider(self.config.oidc, monotonic=time.monotonic) if self.config.oidc else None
            self.people = people = People.over(jet, seal, clock=time.time, oidc=oidc)
            self.targets = TargetStore(jet, clock=time.time, new_token=lambda: secrets.token_urlsafe(24))
            guard = TargetGuard(
                self.targets,
                TargetProver(contact=self.config.contact),
                grounds_of(self.config),
                clock=time.time,
            )
            self.store = JobStore(
                jet,
                seal=seal,
                clock=time.time,
                new_id=lambda: job_id(time.time(), secrets.randbits(20)),
                new_seed=lambda: rng.randrange(2**53),
                allowed_origins=self.config.allowed_origins,
                store_dir=self.config.store_dir,
                kills=kill_switch,
                quotas=people.projects.quotas,
                targets=guard,
            )
            quarantine = Quarantine(jet, self.name, clock=time.time)
            audit_log = AuditLog(jet, self.name, clock=time.time)
            enrolment = self._enrolment(jet, entry, quarantine, audit_log, ears)
            self.enrolment: EnrolmentPort = enrolment or NoEnrolment()
            problem = enrolment.problem if enrolment else None
            self.fleet = Fleet(jet, quarantine, clock=clock, problem=problem, ears=ears)
            self.leadership = Leadership(
                jet, self.name, instance=secrets.token_hex(8), monotonic=time.monotonic
            )
            registrar = Registrar(
                ears,
                self.fleet.roster,
                quarantine,
                lease=self.config.lease,
                dispatch_keys=self.keyring.dispatch_keys,
                contact=check_contact(self.config.contact),
                kills=kill_switch,
                problem=problem,
                audit_log=audit_log,
            )
            conductor = Conductor(
                jet,
                self.store,
                self.fleet.roster,
                quarantine=quarantine,
                sure=lambda: self.leadership.sure,
                clock=clock,
                kills=kill_switch,
                keyring=self.keyring,
                targets=guard,
            )
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._broker_gone(closed), name="watch the broker"),
                    group.create_task(self._broker_back(back, registrar, enrolment), name="broker back"),
                    group.create_task(quarantine.run(), name="quarantine"),
                    group.create_task(audit_log.run(), name="audit log"),
                    group.create_task(kill_switch.run(), name="kill switch"),
                    group.create_task(self.targets.run(), name="targets"),
                    group.create_task(people.run(), name="people"),
                    group.create_task(self.fleet.run(), name="fleet"),
                    group.create_task(
                        ProxySweep(self.store, self.store.proxies, clock=time.time).run(),
                        name="proxies of finished jobs",
                    ),
                    group.create_task(registrar.run(), name="registrar"),
                    group.create_task(
                        ArtifactDesk(Jet(ears), self.store, quarantine, self.fleet.roster, problem).run(),
                        name="bounds of artifacts",
                    ),
                    group.create_task(
                        SecretDesk(
                            Jet(ears), self.store, self.fleet.roster, quarantine, seal, clock=time.time
                        ).run(),
                        name="secrets",
                    ),
                    group.create_task(self.leadership.hold(conductor.conduct), name="leadership"),
                ]
                if enrolment is not None:
                    tasks.append(group.create_task(enrolment.run(), name="enrolment"))
                sessions = SessionLog(jet, self.store)
                state = WebState(
                    jobs=self.store,
                    sessions=sessions,
                    retry=JobRetry(self.store, sessions),
                    audits=Auditor(jet, self.store),
                    audit_log=audit_log,
                    kills=kill_switch,
                    artifacts=Artifacts(jet, self.store.get),
                    fleet=self.fleet,
                    proxies=self.store.proxies,
                    proxy_trials=ProxyTrials(
                        jet,
                        self.store.proxies,
                        self.fleet,
                        seal,
                        clock=time.time,
                        grounds=guard.grounds,
                    ),
                    targets=guard,
                    secrets=self.store.secrets,
                    feed=ProgressFeed(nc),
                    enrolment=self.enrolment,
                    tickets=SocketTickets(jet),
                    people=people,
                    authenticator=people.authenticator,
                    projects=people.projects,
                    anonymous=opening.anonymous,
                    names=opening.names,
                    rates=opening.rates,
                    status=self,
                    static=STATIC,
                    version=version("trafficbuster"),
                )
                try:
                    if self.config.data_dir:
                        at = Path(self.config.data_dir)
                        await ensure_local_admin(people.credentials, self.name, at, time.time())
                    async with WebServer(
                        create_app(state), host=self.config.host, port=self.config.port, tls=opening.tls
                    ) as web:
                        self.url = web.url
                        tasks.append(group.create_task(web.watch(), name="web"))
                        log.info("orchestrator %s serves %s", self.name, self.url)
                        yield
                finally:
                    # Web first, then the conductor, which gives its leadership up; the connection last.
                    for task in reversed(tasks):
                        task.cancel()

    async def _keys(self, jet: Jet) -> Keyring:
        """Raises `SettingsError`."""
        if self.config.keys_dir:
            return await asyncio.to_thread(Keyring.load, Path(self.config.keys_dir))
        return await shared_keyring(jet)

    def _enrolment(
        self, jet: Jet, entry: BrokerEntry, quarantine: Quarantine, audit_log: AuditLog, ears: Client
    ) -> Enrolment | None:
        """None where the broker is open."""
        if entry.keyring is None or not self.config.secure:
            return None
        push = AccountPush(self.config.nats, entry.keyring, name=self.name, clock=time.time, tls=entry.tls)
        return Enrolment(
            jet,
            entry.keyring,
            push,
            quarantine,
            addresses=self.config.runner_nats or connection.servers_of(self.config.nats),
            clock=time.time,
            ca=entry.ca,
            audit_log=audit_log,
            ears=ears,
        )

    async def _broker_gone(self, closed: asyncio.Event) -> None:
        await closed.wait()
        raise BrokerUnavailable(f"the connection to {connection.mask(self.config.nats)} is closed for good")

    async def _broker_back(
        self, back: asyncio.Event, registrar: Registrar, enrolment: Enrolment | None
    ) -> None:
        """A broker that was restarted has lost what it kept in memory."""
        while True:
            await back.wait()
            back.clear()
            registrar.forget_consumers()
            if enrolment is not None:
                enrolment.look_again()
            try:
                await provision(self._nc, replicas=self.config.replicas)
            except BrokerError as e:
                log.warning("the broker is not as it should be: %s", e)
                await asyncio.sleep(1)
                back.set()

    # --- what the web side asks of the whole --------------------------------------------------------------

    def health(self) -> Health:
        return Health(
            status="ok",
            version=version("trafficbuster"),
            broker="connected" if self._nc.is_connected else "disconnected",
            conductor=self.leadership.holder,
        )

    async def ready(self) -> Health:
        """Ready when the broker answers for the stream of records."""
        health = self.health()
        try:
            async with asyncio.timeout(2):
                await Jet(self._nc).last_seq(PROGRESS.name)
        except (BrokerError, TimeoutError) as e:
            return Health(
                status="unavailable",
                version=health.version,
                broker=health.broker,
                conductor=health.conductor,
                detail=str(e) or "the broker does not answer in time",
            )
        return health


def _steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never jump: the wall clock of the start, carried on by the monotonic one.

    Intervals are measured with it, which a step of the wall clock must not stretch.
    """
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
