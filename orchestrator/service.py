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
from types import TracebackType

from broker_config import connection
from broker_config.api import Health
from broker_config.errors import BrokerError, BrokerUnavailable
from broker_config.provisioning import provision
from broker_config.streams import PROGRESS

from .bus.artifact_desk import ArtifactDesk
from .bus.artifacts import Artifacts
from .bus.auditor import Auditor
from .bus.conductor import Conductor
from .bus.fleet import Fleet
from .bus.jet import Jet
from .bus.job_retry import JobRetry
from .bus.job_store import JobStore
from .bus.leadership import Leadership
from .bus.progress_feed import ProgressFeed
from .bus.proxy_sweep import ProxySweep
from .bus.proxy_trials import ProxyTrials
from .bus.quarantine import Quarantine
from .bus.registrar import Registrar
from .bus.session_log import SessionLog
from .core.ids import job_id
from .settings import OrchestratorConfig
from .web.app import STATIC, create_app
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
        clock = _steady_clock()
        async with connection.connected(
            self.config.nats,
            name=f"orchestrator {self.name}",
            on_closed=closed.set,
            on_reconnected=back.set,
        ) as nc:
            self._nc = nc
            await provision(nc, replicas=self.config.replicas)
            jet = Jet(nc)
            self.store = JobStore(
                jet,
                clock=time.time,
                new_id=lambda: job_id(time.time(), secrets.randbits(20)),
                new_seed=lambda: rng.randrange(2**53),
                allowed_origins=self.config.allowed_origins,
                store_dir=self.config.store_dir,
            )
            quarantine = Quarantine(jet, self.name, clock=time.time)
            self.fleet = Fleet(jet, quarantine, clock=clock)
            self.leadership = Leadership(
                jet, self.name, instance=secrets.token_hex(8), monotonic=time.monotonic
            )
            registrar = Registrar(nc, self.fleet.roster, quarantine, lease=self.config.lease)
            conductor = Conductor(
                jet,
                self.store,
                self.fleet.roster,
                quarantine=quarantine,
                sure=lambda: self.leadership.sure,
                clock=clock,
            )
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._broker_gone(closed), name="watch the broker"),
                    group.create_task(self._broker_back(back, registrar), name="broker back"),
                    group.create_task(quarantine.run(), name="quarantine"),
                    group.create_task(self.fleet.run(), name="fleet"),
                    group.create_task(
                        ProxySweep(self.store, self.store.proxies, clock=time.time).run(),
                        name="proxies of finished jobs",
                    ),
                    group.create_task(registrar.run(), name="registrar"),
                    group.create_task(
                        ArtifactDesk(jet, self.store, quarantine).run(), name="bounds of artifacts"
                    ),
                    group.create_task(self.leadership.hold(conductor.conduct), name="leadership"),
                ]
                sessions = SessionLog(jet, self.store)
                state = WebState(
                    jobs=self.store,
                    sessions=sessions,
                    retry=JobRetry(self.store, sessions),
                    audits=Auditor(jet, self.store),
                    artifacts=Artifacts(jet, self.store.get),
                    fleet=self.fleet,
                    proxies=self.store.proxies,
                    proxy_trials=ProxyTrials(
                        jet, self.store.proxies, self.fleet, allowed_origins=self.config.allowed_origins
                    ),
                    feed=ProgressFeed(nc),
                    status=self,
                    static=STATIC,
                    version=version("trafficbuster"),
                )
                try:
                    async with WebServer(
                        create_app(state), host=self.config.host, port=self.config.port
                    ) as web:
                        self.url = web.url
                        tasks.append(group.create_task(web.watch(), name="web"))
                        log.info("orchestrator %s serves %s", self.name, self.url)
                        yield
                finally:
                    # Web first, then the conductor, which gives its leadership up; the connection last.
                    for task in reversed(tasks):
                        task.cancel()

    async def _broker_gone(self, closed: asyncio.Event) -> None:
        await closed.wait()
        raise BrokerUnavailable(f"the connection to {connection.mask(self.config.nats)} is closed for good")

    async def _broker_back(self, back: asyncio.Event, registrar: Registrar) -> None:
        """A broker that was restarted has lost what it kept in memory."""
        while True:
            await back.wait()
            back.clear()
            registrar.forget_consumers()
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
