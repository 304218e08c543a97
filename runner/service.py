"""The runner: all its parts, put together and taken down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import msgspec
import psutil

from broker_config.errors import (
    BrokerRefused,
    CredentialEnded,
    MessageError,
    RegistrationRefused,
    SettingsError,
)
from broker_config.grant import SignedGrant
from broker_config.kill import Kill
from broker_config.messages import (
    ControlReply,
    Dispatch,
    Heartbeat,
    PlatformOffer,
    RunnerSettings,
    RunnerState,
)
from broker_config.operator_mode import JS_PREFIX, runner_inbox
from broker_config.proxy_pool import ProxyTrial
from broker_config.subjects import (
    RUNNER_REGISTER,
    RUNNER_SECRET,
    quarantine,
    runner_register,
    runner_secret,
    token,
)

from .core import names
from .core.backoff import Backoff
from .core.capacity import Saturation, default_slots, may_start
from .core.killed import Killed
from .gate.event import EgressEvent
from .settings import RunnerConfig
from .work.artifact_store import ArtifactStore
from .work.clock import Clock, system_clock
from .work.control import Control
from .work.credential_keeper import CredentialKeeper
from .work.executor import Executor
from .work.faults import Faults
from .work.gate import Gate
from .work.heart import Heart
from .work.identity import Identity, own_version
from .work.job_secrets import JobSecrets
from .work.job_talk import JobTalk
from .work.lease_keeper import LeaseKeeper
from .work.link import ANEW, Link, linked
from .work.log_mask import LogMask
from .work.machine import Machine, Usage
from .work.outbox import Outbox
from .work.pools import Pools
from .work.proxy_tests import ProxyTests
from .work.pull import Pull
from .work.registration import Registration
from .work.running import Running
from .work.secret_reader import SecretReader
from .work.slot import Slot
from .work.spool import Spool
from .work.tasks import main_error, unless
from .work.trust import Trust

log = logging.getLogger(__name__)

#: Why `Runner.run` returned: told to end, told to start anew, or told twice.
ExitReason = Literal["drained", "restart", "killed"]
#: Seconds for which traffic waits at most for word of kills after the broker was away.
HOLD = 2.0
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
        self.config = config = _by_credential(config)
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
            platforms=self._offers,
            labels=config.labels,
            pool=config.pool,
            scripts=config.allow_scripts,
            version=own_version(),
        )
        self.state: RunnerState = "online"
        self.faults = Faults()
        self._log_mask = LogMask()
        #: True once an orchestrator has accepted it.
        self.registered = asyncio.Event()
        self._subjects: list[str] = []
        self._kills = Killed()
        self.trust = Trust(clock=self.clock.wall, fixed=self._fixed_keys)
        self._held: asyncio.TimerHandle | None = None
        self._keeper = None
        if config.credential is not None:
            self._keeper = CredentialKeeper(
                config.credential, config.data_dir, clock=self.clock.wall, backoff=Backoff(self._rng)
            )
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

    def obey_kills(self, kills: Sequence[Kill]) -> None:
        """End what they cover without grace, its traffic first; take nothing of it any more."""
        self._kills.put(kills)
        for run in self.running:
            kill = self._kills.of(run.dispatch)
            if kill is None:
                continue
            d = run.dispatch
            self.executor.cut(d.job)
            if run.reason is None:  # it hears of it more than once
                log.warning("session %d of job %s is ended: %s", d.session, d.job, kill.words)
            run.end("cancelled")

    def renew(self, job: str, grants: Sequence[SignedGrant]) -> None:
        """Let running sessions of the job go on, where an orchestrator says so."""
        for signed in grants:
            try:
                self.executor.renew(self.trust.grant(job, signed))
            except MessageError as e:
                log.warning("a grant of job %s is not taken: %s", job, e)

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
            with self._log_mask.installed():
                await self._run()
        except ExceptionGroup as group:
            raise main_error(group) from None
        except BrokerRefused as e:
            if self._keeper is None or isinstance(e, CredentialEnded):
                raise
            raise CredentialEnded(f"{e}. This runner's credential has ended; {ANEW}") from None
        if self._refusal is not None:
            raise self._refusal
        return self._exit

    async def _run(self) -> None:
        config = self.config
        keeper = self._keeper
        async with linked(
            config.nats,
            name=f"runner {self.runner}",
            timeout=config.connect_timeout_s,
            credentials=config.credentials,
            login=keeper.login() if keeper else None,
            tls=keeper.current.tls() if keeper else None,
            inbox_prefix=runner_inbox(self.runner) if keeper else None,
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
        if self._keeper is not None:
            sides["credential"] = self._keeper.run(self.link)
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
            writer=self.runner if self._keeper else None,
        )
        self.talk = JobTalk(link, self.runner, clock=clock.wall)
        self.artifacts = ArtifactStore(
            link,
            self.runner,
            new_id=lambda: names.random_token(self._rng, 22),
            wall=clock.wall,
            named=self._keeper is not None,
        )
        reader = SecretReader(
            link, runner=self.runner, instance=self.instance, subject=lambda: self._secret_subject
        )
        self.secrets = JobSecrets(
            link, reader, self._log_mask, clock=time.monotonic, limit=lambda: 0.5 * self.leases.length
        )
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
        self._control = Control(
            link, self.runner, self.running, self, clock=clock.wall, named=self._keeper is not None
        )
        self._heart = Heart(
            link,
            self.runner,
            Machine(clock=clock.lease),
            describe=self._heartbeat,
            sampled=self._sampled,
        )
        self._registration = Registration(
            link,
            self._identity.request(),
            backoff=Backoff(self._rng),
            accepted=self._accepted,
            subject=runner_register(self.runner) if self._keeper else RUNNER_REGISTER,
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
                across=self._keeper is not None,
            )
            for n in range(self.slots)
        ]
        self._on_change.append(self._heart.beat_now)
        self._on_waking.append(self.leases.check)
        link.on_down.append(self._gate.look)
        link.on_up += [self._hold, self._registration.again, self.outbox.back]
        link.on_up += [self._gate.look, self._heart.beat_now]

    def _heartbeat(self, usage: Usage) -> Heartbeat:
        return self._identity.heartbeat(
            self.clock.wall(), self.state, usage, self.running, saturated=self._saturation.saturated
        )

    def _accepted(self, settings: RunnerSettings) -> None:
        self._subjects = [
            f"{self.config.js_prefix}.CONSUMER.MSG.NEXT.{settings.stream}.{consumer}"
            for _, consumer in [*sorted(settings.consumers.items()), *sorted(self._scripts(settings).items())]
        ]
        self.trust.learn(settings)
        self.executor.contact = settings.contact
        self.obey_kills(settings.kills)
        self._let_go()
        self.leases.length = settings.lease_s
        self._heart.interval = settings.heartbeat_s
        again = "again " if self.registered.is_set() else ""
        offers = ", ".join(sorted(settings.consumers))
        log.info("runner %s is %sregistered: %d slots for %s", self.runner, again, self.slots, offers)
        self.registered.set()
        self._gate.look()

    @property
    def _secret_subject(self) -> str:
        """With a credential the broker vouches for the runner's name in it."""
        return runner_secret(self.runner) if self._keeper else RUNNER_SECRET

    def quarantine(self, kind: str) -> str:
        return quarantine(kind, self.runner if self._keeper else None)

    def _fixed_keys(self) -> Sequence[str]:
        return self._keeper.current.dispatch_keys if self._keeper else ()

    def _offers(self) -> Sequence[PlatformOffer]:
        """Of what it has, what its credential is for."""
        wanted = self._keeper.current.platforms if self._keeper else []
        return [o for o in self.executor.platforms if not wanted or o.platform in wanted]

    def _scripts(self, settings: RunnerSettings) -> dict[str, str]:
        return settings.script_consumers if self.config.allow_scripts else {}

    def _hold(self) -> None:
        """It was away: before anything more reaches a site, it hears what was killed meanwhile. Where nobody
        tells, sessions go on: that the orchestrators are away is no reason to end them."""
        if self._held is None:
            self.executor.hold(True)
            self._held = asyncio.get_running_loop().call_later(HOLD, self._let_go)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self.executor.hold(False)

    # --- what its parts ask --------------------------------------------------------------------------------

    @property
    def taking(self) -> bool:
        return self.state == "online"

    @property
    def allow_scripts(self) -> bool:
        return self.config.allow_scripts

    def is_cancelled(self, job: str) -> bool:
        return self._control.is_cancelled(job)

    def is_killed(self, dispatch: Dispatch) -> bool:
        return self._kills.of(dispatch) is not None

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


def _by_credential(config: RunnerConfig) -> RunnerConfig:
    """What the runner's credential says of it, where it has one. Raises `SettingsError`."""
    credential = config.credential
    if credential is None:
        return config
    if config.name not in ("", credential.runner):
        raise SettingsError(
            f"--name {config.name}: this runner has joined as {credential.runner}, in {config.data_dir}; "
            "choose another --data-dir, or `tb-runner leave` forgets that"
        )
    if config.pool not in (None, credential.pool):
        raise SettingsError(
            f"--pool {config.pool}: this runner's credential is for "
            f"{f'the pool {credential.pool}' if credential.pool else 'no pool'}; it needs another invite"
        )
    if config.allow_scripts and not credential.scripts:
        raise SettingsError(
            "--allow-scripts: this runner's credential is not for scripts of users; it needs an invite made "
            "with --allow-scripts"
        )
    usual = config.nats == RunnerConfig(data_dir=config.data_dir).nats
    return msgspec.structs.replace(
        config,
        name=credential.runner,
        pool=credential.pool,
        nats=",".join(credential.nats) if usual and credential.nats else config.nats,
        js_prefix=JS_PREFIX,
    )
