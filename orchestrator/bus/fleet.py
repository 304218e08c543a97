"""The fleet as this orchestrator sees it: fed by heartbeats, remembered in the bucket `runners`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.api import PlatformView, RunnerView
from broker_config.errors import BrokerError, MessageError
from broker_config.messages import Heartbeat
from broker_config.streams import RUNNERS
from broker_config.subjects import RUNNER_HEARTBEATS
from orchestrator.core.roster import Roster
from orchestrator.core.turnstile import Turnstile

from .claim import Claim
from .jet import Jet
from .quarantine import Quarantine

log = logging.getLogger(__name__)

STREAM = f"KV_{RUNNERS.name}"
MAX_SLOTS = 10_000
#: Heartbeats of one runner in a second; those beyond are not even read.
MOST_BEATS = 20
#: Heartbeats that may wait here, and after how many of them others have their turn.
MAX_WAITING = 20_000
YIELD_EVERY = 50
SWEEP_EVERY = 0.5
#: A runner's document is written anew at least this often while it is heard, s.
REMEMBER_EVERY = 60.0


class Fleet:
    """`run` keeps the roster until cancelled. `clock` gives seconds since 1970; a heartbeat that says more of
    a runner than its credential allows (`problem`) counts for nothing. Heartbeats are heard
    on `ears`, where that is another connection."""

    def __init__(
        self,
        jet: Jet,
        quarantine: Quarantine,
        *,
        clock: Callable[[], float],
        problem: Claim | None = None,
        ears: Client | None = None,
    ) -> None:
        self._ears = ears or jet.nc
        self._problem = problem
        self._turnstile = Turnstile(MOST_BEATS)
        self._heard = 0
        self._jet = jet
        self._quarantine = quarantine
        self._clock = clock
        self.roster = Roster()
        #: Set once heartbeats are subscribed to.
        self.listening = asyncio.Event()
        self._changed = asyncio.Condition()
        self._remembered: dict[str, tuple[str, str, float]] = {}
        self._to_remember: asyncio.Queue[RunnerView] = asyncio.Queue(maxsize=10_000)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._restore(), name="remembered runners")
            group.create_task(self._sweep(), name="sweep of runners")
            group.create_task(self._remember(), name="remember runners")
            sub = await self._ears.subscribe(RUNNER_HEARTBEATS, cb=self._hear, pending_msgs_limit=MAX_WAITING)
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                await sub.unsubscribe()

    # --- views -------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self.roster.version

    async def wait_changed(self, after: int) -> int:
        """Wait until `version` is above `after`; the version then."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.roster.version > after)
        return self.roster.version

    def runners(self) -> list[RunnerView]:
        return self.roster.all()

    def runner(self, id: str) -> RunnerView | None:
        return self.roster.get(id)

    def platforms(self) -> list[PlatformView]:
        return self.roster.platforms()

    # --- feeding -----------------------------------------------------------------------------------------

    async def _hear(self, msg: Msg) -> None:
        self._heard += 1
        if self._heard % YIELD_EVERY == 0:
            # The client hands over all that has come without ever letting anybody else run.
            await asyncio.sleep(0)
        if not self._turnstile.lets(msg.subject, self._clock()):
            return
        try:
            beat = codec.decode(msg.data, Heartbeat)
            if msg.subject.rpartition(".")[2] != beat.runner:
                raise MessageError(f"a heartbeat of {beat.runner} came on {msg.subject}")
            offers = [offer.platform for offer in beat.platforms]
            wrong = self._problem and self._problem(beat.runner, beat.pool, offers, scripts=beat.scripts)
            if wrong and wrong.passing:
                return
            if wrong:
                raise MessageError(wrong.text)
            if not 0 <= beat.slots <= MAX_SLOTS:
                raise MessageError(f"it says that it has {beat.slots} slots")
        except MessageError as e:
            self._quarantine.put("heartbeat", msg.subject, msg.data, str(e))
            return
        for line in self.roster.hear(beat, self._clock()):
            log.info("%s", line)
        if view := self.roster.get(beat.runner):
            self._note(view)
        await self._tell()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            before = self.roster.version
            for gone in self.roster.sweep(self._clock()):
                log.warning("runner %s is lost; it held %d sessions", gone.id, len(gone.running))
                if view := self.roster.get(gone.id):
                    self._note(view)
            if self.roster.version != before:
                await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- memory ------------------------------------------------------------------------------------------

    def _note(self, view: RunnerView) -> None:
        """Queue the runner's document for writing if it has changed in more than its load."""
        now = self._clock()
        instance, state, at = self._remembered.get(view.id, ("", "", 0.0))
        if (instance, state) != (view.instance, view.state) or now - at > REMEMBER_EVERY:
            self._remembered[view.id] = (view.instance, view.state, now)
            if not self._to_remember.full():
                self._to_remember.put_nowait(view)

    async def _remember(self) -> None:
        while True:
            view = await self._to_remember.get()
            try:
                await self._jet.publish(f"$KV.{RUNNERS.name}.{view.id}", codec.encode(view))
            except BrokerError as e:
                log.debug("runner %s is not remembered now: %s", view.id, e)
                self._remembered.pop(view.id, None)

    async def _restore(self) -> None:
        try:
            for stored in await self._jet.read_all(STREAM, f"$KV.{RUNNERS.name}.*"):
                if stored.data:
                    self.roster.restore(codec.decode(stored.data, RunnerView))
        except (BrokerError, MessageError, msgspec.MsgspecError) as e:
            log.warning("runners of before are not known: %s", e)
