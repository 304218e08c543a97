"""The runner: all its parts, put together and taken down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import psutil

from broker_config.errors import RegistrationRefused
from broker_config.messages import ControlReply, Heartbeat, RunnerSettings, RunnerState
from broker_config.proxy_pool import ProxyTrial
from broker_config.subjects import token

from .core import names
from .core.backoff import Backoff
from .core.capacity import Saturation, default_slots, may_start
from .gate.event import EgressEvent
from .settings import RunnerConfig
from .work.artifact_store import ArtifactStore
from .work.clock import Clock, system_clock
from .work.control import Control
from .work.executor import Executor
from .work.faults import Faults
from .work.gate import Gate
from .work.heart import Heart
from .work.identity import Identity, own_version
from .work.job_talk import JobTalk
from .work.lease_keeper import LeaseKeeper
from .work.link import Link, linked
from .work.machine import Machine, Usage
from .work.outbox import Outbox
from .work.pool_reader import PoolReader
from .work.pools import Pools
from .work.proxy_tests import ProxyTests
from .work.pull import Pull
from .work.registration import Registration
from .work.running import Running
from .work.slot import Slot
from .work.spool import Spool
from .work.tasks import main_error, unless

log = logging.getLogger(__name__)

#: Why `Runner.run` returned: told to end, told to start anew, or told twice.
ExitReason = Literal["drained", "restart", "killed"]
#: Exit code of the process after `restart`: the service manager starts it again.
EXIT_RESTART = 75


class Runner:
    """`await Runner(config, executor).run()` runs sessions until `drain`, `restart` or `kill` is called.

    `run` returns why it ended. It raises `BrokerUnavailable` (nobody answers at the start, or the connection
    is closed for good), `BrokerRefused`, `BrowserError`, `SettingsError`, `NameRefused`, and
    `RegistrationRefused` when the orchestrator does not want this runner.
    """

    def __init__(
        self,
        config: RunnerConfig,
        executor: Executor,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        hostname: str = "",
    ) -> None:
        self.config = config
        self.executor = executor
        self.clock = clock or system_clock()
        self._rng = rng or random.SystemRandom()
        hostname = hostname or socket.gethostname()
        cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
        self.runner = token(config.name or names.runner_id(hostname, self._rng), "runner id")
        self.instance = names.random_token(self._rng, 10)
        self.slots = config.slots or default_slots(cores, memory)
        self._identity = Identity(
            runner=self.runner,
            instance=self.instance,
            hostname=hostname,
            slots=self.slots,
            cores=cores,
            memory_bytes=memory,
            started_at=self.clock.wall(),
            platforms=lambda: executor.platforms,
            labels=config.labels,
            pool=config.pool,
            scripts=config.allow_scripts,
            version=own_version(),
        )
        self.state: RunnerState = "online"
        self.faults = Faults()
        #: True once an orchestrator has accepted it.
        self.registered = asyncio.Event()
        self._subjects: list[str] = []
        self._exit: ExitReason = "drained"
        self._refusal: RegistrationRefused | None = None
        self._ending = asyncio.Event()
        self._killed = asyncio.Event()
        self._saturation = Saturation(busy=config.saturation_busy)
        self.running = Running(self._runs_changed)
        self._gate = Gate(self.slots, self._slot_allowed, self._slot_shut)
        self._pulls: list[Pull] = []
        self._on_change: list[Callable[[], None]] = [self._gate.look]
        self._on_waking: list[Callable[[], None]] = []

    # --- what it can be told; all return at once ----------------------------------------------------------

    def pause(self) -> None:
        """Start no new session; the running ones go on."""
        if self.state == "online":
            self._become("paused")

    def resume(self) -> None:
        if self.state == "paused":
            self._become("online")

    def drain(self) -> None:
        """Start nothing more, finish within `grace_s`, hand the rest back, end."""
        if not self._ending.is_set():
            self._ending.set()
            self._become("draining")

    def restart(self) -> None:
        """As `drain`; the exit reason asks for a new start."""
        self._exit = "restart"
        self.drain()

    def kill(self) -> None:
        """Hand back what runs, now."""
        self._exit = "killed"
        self.drain()
        self._killed.set()

    def reregister(self) -> None:
        self._registration.again()

    def test_proxies(self, trial: ProxyTrial | None, reply: str) -> ControlReply | None:
        """The refusal, or None: the answer goes to the subject `reply` when the test is done."""
        return self._proxy_tests.put(trial, reply)

    def woken(self) -> None:
        """The process may have slept: leases are looked at before anything else happens."""
        for call in self._on_waking:
            call()

    # --- its life ------------------------------------------------------------------------------------------

    async def run(self) -> ExitReason:
        try:
            await self._run()
        except ExceptionGroup as group:
            raise main_error(group) from None
        if self._refusal is not None:
            raise self._refusal
        return self._exit

    async def _run(self) -> None:
        config = self.config
        async with linked(
            config.nats,
            name=f"runner {self.runner}",
            timeout=config.connect_timeout_s,
            credentials=config.credentials,
        ) as self.link:
            try:
                if not await unless(self._ending, self.executor.start()):
                    return
                self._assemble(self.link)
                self.outbox.open()
                try:
                    async with self._sides():
                        await self._work()
                finally:
                    self.outbox.close()
            finally:
                await self.executor.close()
        log.info("runner %s has ended: %s", self.runner, self._exit)

    @asynccontextmanager
    async def _sides(self) -> AsyncIterator[None]:
        """The tasks beside the slots. One that fails ends the runner."""
        sides: dict[str, Coroutine[Any, Any, None]] = {
            "watch the connection": self.link.watch(),
            "leases": self.leases.run(),
            "outbox": self.outbox.run(),
            "job log": self.talk.run(),
            "control": self._control.run(),
            "proxies": self.pools.run(),
            "tests of proxies": self._proxy_tests.run(),
            "registration": self._register(),
            "heartbeat": self._beat(),
            "end": self._end(),
        }
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(side, name=name) for name, side in sides.items()]
            try:
                yield
                await self._farewell()
            finally:
                for task in tasks:
                    task.cancel()

    async def _work(self) -> None:
        """All slots, until they have ended."""
        async with asyncio.TaskGroup() as group:
            for n in range(self.slots):
                group.create_task(self._slot(n), name=f"slot {n}")

    async def _slot(self, n: int) -> None:
        pull, slot = self._pulls[n], Slot(self)
        while True:
            await self._gate.wait(n)
            if self._ending.is_set():
                break
            delivery = await pull.next(partial(self._slot_allowed, n))
            if delivery is not None:
                await slot.take(delivery)
        await pull.close()

    async def _register(self) -> None:
        try:
            await self._registration.run()
        except RegistrationRefused as e:
            if not self.registered.is_set():
                raise
            # It was welcome before: what runs is finished.
            log.error("%s", e)
            self._refusal = e
            self.drain()

    async def _beat(self) -> None:
        await self.registered.wait()
        await self._heart.run()

    async def _end(self) -> None:
        """The stages of the end: no new session; after the grace, no session."""
        await self._ending.wait()
        self._gate.release()
        if self.running:
            log.info("%d sessions are still running; at most %g s", len(self.running), self.config.grace_s)
        try:
            async with asyncio.timeout(self.config.grace_s):
                await self._killed.wait()
        except TimeoutError:
            self._killed.set()
        if self.running:
            log.warning("%d sessions are ended and handed back", len(self.running))
        self.running.end_all("handed_back")

    async def _farewell(self) -> None:
        """What has ended is told; the last heartbeat says that nothing more comes."""
        if not await self.outbox.flushed(0 if self._killed.is_set() else self.config.flush_s):
            log.warning("results stay on disk; the next start publishes them")
        if self.registered.is_set():
            await self.talk.flush()
            self.state = "offline"
            await self._heart.beat()

    # --- its parts -----------------------------------------------------------------------------------------

    def _assemble(self, link: Link) -> None:
        config, clock = self.config, self.clock
        self.leases = LeaseKeeper(link, clock=clock.lease, length=RunnerSettings().lease_s)
        self.outbox = Outbox(
            link,
            Spool(
                config.data_dir,
                self.instance,
                max_records=config.spool_max_records,
                max_bytes=config.spool_max_bytes,
            ),
            self.leases,
            backoff=Backoff(self._rng, most=5.0),
            changed=self._gate.look,
        )
        self.talk = JobTalk(link, self.runner, clock=clock.wall)
        self.artifacts = ArtifactStore(
            link, self.runner, new_id=lambda: names.random_token(self._rng, 22), wall=clock.wall
        )
        reader = PoolReader(link, prefix=config.js_prefix)
        self.pools = Pools(
            link,
            reader,
            self.running,
            runner=self.runner,
            clock=time.monotonic,
            # Sooner than the lease is given up: the session then ends in words.
            limit=lambda: 0.5 * self.leases.length,
        )
        self._proxy_tests = ProxyTests(
            link, reader, self.runner, wall=clock.wall, clock=time.monotonic, version=own_version()
        )
        self.executor.on_egress = self._egress_event
        self._control = Control(link, self.runner, self.running, self, clock=clock.wall)
        self._heart = Heart(
            link,
            self.runner,
            Machine(clock=clock.lease),
            describe=self._heartbeat,
            sampled=self._sampled,
        )
        self._registration = Registration(
            link, self._identity.request(), backoff=Backoff(self._rng), accepted=self._accepted
        )
        self._pulls = [
            Pull(
                link,
                subjects=lambda: self._subjects,
                turn=n,
                clock=clock.lease,
                sent_after=self.leases.sent_after,
                backoff=Backoff(self._rng, most=2.0),
                missing=self._registration.again,
            )
            for n in range(self.slots)
        ]
        self._on_change.append(self._heart.beat_now)
        self._on_waking.append(self.leases.check)
        link.on_down.append(self._gate.look)
        link.on_up += [self._registration.again, self.outbox.back, self._gate.look, self._heart.beat_now]

    def _heartbeat(self, usage: Usage) -> Heartbeat:
        return self._identity.heartbeat(
            self.clock.wall(), self.state, usage, self.running, saturated=self._saturation.saturated
        )

    def _accepted(self, settings: RunnerSettings) -> None:
        self._subjects = [
            f"{self.config.js_prefix}.CONSUMER.MSG.NEXT.{settings.stream}.{consumer}"
            for _, consumer in [*sorted(settings.consumers.items()), *sorted(self._scripts(settings).items())]
        ]
        self.leases.length = settings.lease_s
        self._heart.interval = settings.heartbeat_s
        again = "again " if self.registered.is_set() else ""
        offers = ", ".join(sorted(settings.consumers))
        log.info("runner %s is %sregistered: %d slots for %s", self.runner, again, self.slots, offers)
        self.registered.set()
        self._gate.look()

    def _scripts(self, settings: RunnerSettings) -> dict[str, str]:
        return settings.script_consumers if self.config.allow_scripts else {}

    # --- what its parts ask --------------------------------------------------------------------------------

    @property
    def taking(self) -> bool:
        return self.state == "online"

    @property
    def allow_scripts(self) -> bool:
        return self.config.allow_scripts

    def is_cancelled(self, job: str) -> bool:
        return self._control.is_cancelled(job)

    def saturated_since(self, then: float) -> bool:
        return self._saturation.seen_since(then)

    def _egress_event(self, event: EgressEvent) -> None:
        """What happens to proxies stands in the log of the job whose session noticed, and in the runner's."""
        log.warning("job %s, session %d: %s", event.job, event.session, event)
        for run in self.running.of(event.job, event.session)[:1]:
            self.talk.say(run.dispatch, "line", str(event), "info" if event.kind == "proxy_up" else "warning")

    def _slot_allowed(self, n: int) -> bool:
        return (
            self.taking
            and bool(self._subjects)
            and self.link.up.is_set()
            and not self.outbox.full
            and may_start(n, len(self.running), self.config.adaptive and self._saturation.saturated)
        )

    def _slot_shut(self, n: int) -> None:
        self._pulls[n].stop()

    def _runs_changed(self) -> None:
        if self._saturation.saturated:
            self._gate.look()

    def _sampled(self, usage: Usage) -> None:
        before = self._saturation.saturated
        if self._saturation.sample(usage.cpu, self.clock.lease()) != before:
            log.info("the machine is %s", "no longer saturated" if before else "saturated; no new session")
            self._gate.look()

    def _become(self, state: RunnerState) -> None:
        self.state = state
        log.info("runner %s is %s", self.runner, state)
        for call in self._on_change:
            call()
