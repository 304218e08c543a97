"""For tests of the conductor: an orchestrator without its web side, a runner that is a few lines of NATS."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec, connection
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.keyring import Keyring
from broker_config.messages import (
    ConductorRecord,
    Dispatch,
    Heartbeat,
    JobLog,
    Measures,
    PlatformOffer,
    RunningSession,
    SessionRecord,
)
from broker_config.provisioning import ensure_dispatch_consumer, provision
from broker_config.seal import Seal
from broker_config.streams import PROGRESS
from broker_config.subjects import (
    CONDUCTOR,
    job_log,
    runner_heartbeat,
    session_record,
    session_records_of,
)
from orchestrator.bus.conductor import Conductor
from orchestrator.bus.fleet import Fleet
from orchestrator.bus.jet import Jet
from orchestrator.bus.job_store import JobStore
from orchestrator.bus.kill_switch import KillSwitch
from orchestrator.bus.leadership import Leadership
from orchestrator.bus.quarantine import Quarantine
from orchestrator.bus.registrar import Registrar
from orchestrator.bus.target_guard import TargetGuard
from orchestrator.bus.target_watch import Times
from tests.support.waiting import eventually

_ids = itertools.count(1)


class Backstage:
    """One orchestrator's NATS side. Several may share a broker. Without a keyring dispatches are unsigned."""

    def __init__(
        self,
        nc: Client,
        name: str,
        keyring: Keyring | None = None,
        targets: Callable[[Jet], TargetGuard] | None = None,
        times: Times | None = None,
    ) -> None:
        self.nc = nc
        self.jet = Jet(nc)
        #: Says where jobs may go; None: loopback is free.
        self.targets = targets(self.jet) if targets is not None else None
        self.kills = KillSwitch(self.jet, clock=time.time)
        self.store = JobStore(
            self.jet,
            seal=Seal(bytes(32)),
            clock=time.time,
            new_id=lambda: f"job{next(_ids):04d}",
            new_seed=lambda: 7,
            kills=self.kills,
            targets=self.targets,
        )
        self.quarantine = Quarantine(self.jet, name, clock=time.time)
        self.fleet = Fleet(self.jet, self.quarantine, clock=time.time)
        self.leadership = Leadership(self.jet, name, instance=secrets.token_hex(8), monotonic=time.monotonic)
        self.conductor = Conductor(
            self.jet,
            self.store,
            self.fleet.roster,
            quarantine=self.quarantine,
            sure=lambda: self.leadership.sure,
            clock=time.time,
            sweep_every=1.0,
            kills=self.kills,
            keyring=keyring,
            targets=self.targets,
            times=times,
        )
        #: Answers no registration unless it is run.
        self.registrar = Registrar(
            nc,
            self.fleet.roster,
            self.quarantine,
            lease=15.0,
            dispatch_keys=keyring.dispatch_keys if keyring is not None else (),
            kills=self.kills,
        )

    async def submit(self, sessions: int | None, **spec: object) -> Job:
        document = {"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": sessions, **spec}
        job, _ = await self.store.submit(read_spec(document), source="api", idempotency_key=None)
        return job

    async def finished(self, job: str, within: float = 20.0) -> Job:
        """Wait until the job is finished."""

        async def ended() -> Job | None:
            document = await self.store.get(job)
            return document if document.state == "finished" else None

        document = await eventually(ended, within, what=f"{job} finished")
        assert document is not None
        return document

    async def records(self, job: str) -> list[SessionRecord]:
        stored = await self.jet.read_all(PROGRESS.name, session_records_of(job))
        return [codec.decode(s.data, SessionRecord) for s in stored if not s.subject.endswith(".conductor")]

    async def owed(self, job: str) -> list[ConductorRecord]:
        """What the conductors wrote."""
        stored = await self.jet.read_all(PROGRESS.name, session_record(job, CONDUCTOR))
        return [codec.decode(s.data, ConductorRecord) for s in stored]


@asynccontextmanager
async def backstage(
    url: str,
    name: str = "one",
    *,
    keyring: Keyring | None = None,
    registers: bool = False,
    targets: Callable[[Jet], TargetGuard] | None = None,
    times: Times | None = None,
) -> AsyncIterator[Backstage]:
    async with connection.connected(url, name=name) as nc:
        await provision(nc)
        stage = Backstage(nc, name, keyring, targets, times)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(stage.quarantine.run()),
                group.create_task(stage.fleet.run()),
                group.create_task(stage.kills.run()),
                group.create_task(stage.leadership.hold(stage.conductor.conduct)),
            ]
            if stage.targets is not None:
                tasks.append(group.create_task(stage.targets.store.run()))
            await stage.fleet.listening.wait()
            if registers:
                tasks.append(group.create_task(stage.registrar.run()))
                await stage.registrar.listening.wait()
            # Twice: the PING of the first goes out before a subscription that is still queued.
            await nc.flush()
            await nc.flush()
            try:
                yield stage
            finally:
                for task in tasks:
                    task.cancel()


class RawRunner:
    """Takes sessions of one platform and ends each as `play` says; None means it never does."""

    def __init__(
        self,
        nc: Client,
        name: str = "raw",
        *,
        platform: str = "linux-chromium",
        slots: int = 4,
        lease: float = 15.0,
        pool: str | None = None,
        play: Callable[[Dispatch], float | None] = lambda d: 0.0,
    ) -> None:
        self.nc = nc
        self.name = name
        self.platform = platform
        self.slots = slots
        self.lease = lease
        self.pool = pool
        self.play = play
        self.instance = f"{name}-1"
        self.running: dict[tuple[str, int], int] = {}
        self.started: list[tuple[str, int, int]] = []
        self.most_at_once = 0

    async def run(self) -> None:
        consumer = await ensure_dispatch_consumer(self.nc, self.platform, self.pool, lease=self.lease)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            for _ in range(self.slots):
                group.create_task(self._slot(consumer))

    async def _beat(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(0.5)

    async def beat(self, state: str = "online") -> None:
        beat = Heartbeat(
            runner=self.name,
            instance=self.instance,
            at=time.time(),
            state=state,  # type: ignore[arg-type]
            slots=self.slots,
            busy=len(self.running),
            platforms=[PlatformOffer(platform=self.platform)],
            pool=self.pool,
            running=[RunningSession(job=j, session=s, attempt=a) for (j, s), a in self.running.items()],
        )
        await self.nc.publish(runner_heartbeat(self.name), codec.encode(beat))

    async def _slot(self, consumer: str) -> None:
        ask = json.dumps({"batch": 1, "expires": 1_000_000_000}).encode()
        while True:
            inbox = self.nc.new_inbox()
            sub = await self.nc.subscribe(inbox, max_msgs=1)
            await self.nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.DISPATCH.{consumer}", ask, reply=inbox)
            try:
                msg = await sub.next_msg(timeout=1.5)
            except nats.errors.TimeoutError:
                continue
            if not (msg.headers or {}).get("Status"):
                await self._take(msg)

    async def _take(self, msg: Msg) -> None:
        d = codec.decode(msg.data, Dispatch)
        attempt = d.attempt + msg.metadata.num_delivered - 1
        d = msgspec.structs.replace(d, attempt=attempt)
        self.running[d.job, d.session] = attempt
        self.started.append((d.job, d.session, attempt))
        said = JobLog(
            job=d.job, runner=self.name, session=d.session, attempt=attempt, at=time.time(), event="started"
        )
        await self.nc.publish(job_log(d.job, self.name), codec.encode(said))
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            duration = self.play(d)
            if duration is None:
                await asyncio.Event().wait()
            await asyncio.sleep(duration or 0)
            # Over before its record is out: the next one may come before the answer to it.
            self.running.pop((d.job, d.session), None)
            await self.record(d)
            await self.nc.request(msg.reply, b"+ACK", timeout=5)
        finally:
            self.running.pop((d.job, d.session), None)

    async def record(self, d: Dispatch, status: str = "ok") -> None:
        record = SessionRecord(
            job=d.job,
            session=d.session,
            attempt=d.attempt,
            status=status,  # type: ignore[arg-type]
            runner=self.name,
            target=d.target,
            platform=d.platform,
            ended_at=time.time(),
            duration_ms=1.0,
            measures=Measures(load=100.0 + d.session),
        )
        await self.nc.request(session_record(d.job, self.name), codec.encode(record), timeout=5)
