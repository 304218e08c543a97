"""The kill switch: what is killed stands in the bucket `kills`, and every orchestrator watches that.

Who takes a kill stores it and tells the runners before it answers; the conductor ends the jobs. Each other
orchestrator tells the runners again as it hears of it, so that none of them is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
import nats.errors

from broker_config import codec
from broker_config.errors import BrokerError, Conflict, KillHolds, KillNotFound, MessageError
from broker_config.kill import Kill, kill_id
from broker_config.messages import JobControl
from broker_config.messages.dispatch import DISPATCH_LIFE
from broker_config.streams import KILLS
from broker_config.subjects import JOB_CONTROL_ALL, job_control
from orchestrator.core.kill import Kills, refusal

from .jet import Jet
from .stream_feed import FeedMessage, StreamFeed

log = logging.getLogger(__name__)

STREAM = f"KV_{KILLS.name}"
_ATTEMPTS = 20
#: Kills that are younger than this are told to the runners when they are heard of, s.
YOUNG = 60.0
#: So many stand in the answer to a registration at most, which is one message.
MAX_TOLD = 1_000


def subject(id: str) -> str:
    return f"$KV.{KILLS.name}.{id}"


class KillSwitch:
    """`run` watches until cancelled; `kills` is what it has seen. `clock` gives seconds since 1970."""

    def __init__(self, jet: Jet, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._clock = clock
        self.kills = Kills()
        #: Called with each kill that is heard of, and that holds.
        self.on_kill: list[Callable[[Kill], None]] = []
        self._feed = StreamFeed(jet, STREAM, subject("*"), self._hear)
        self._to_tell: asyncio.Queue[Kill] = asyncio.Queue()

    @property
    def caught_up(self) -> asyncio.Event:
        return self._feed.caught_up

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(), name="feed of kills")
            group.create_task(self._tell(), name="tell of kills")

    # --- what users order ----------------------------------------------------------------------------------

    async def kill(self, kill: Kill) -> Kill:
        """Store it, and tell the runners; the kill as it holds now. One that holds already is told again.

        Raises `BrokerError`: it may hold all the same then, and can be repeated."""
        at = subject(kill.id)
        for _ in range(_ATTEMPTS):
            entry = await self._jet.get(STREAM, at)
            if entry is not None and not entry.deleted:
                held = _read(entry.value, entry.revision)
                break
            try:
                ack = await self._jet.publish(
                    at, codec.encode(kill), expected_last=entry.revision if entry else 0
                )
            except Conflict:
                continue
            held = msgspec.structs.replace(kill, revision=ack.seq)
            break
        else:
            raise Conflict(f"the kill of {kill.what} changes too fast; try again")
        log.warning("%s is %s", held.what, held.words)
        await self.announce(held)
        return held

    async def lift(self, id: str) -> Kill:
        """What is let in from now on is not covered any more. Raises `KillNotFound`."""
        for _ in range(_ATTEMPTS):
            entry = await self._jet.get(STREAM, subject(id))
            if entry is None or entry.deleted:
                raise KillNotFound(f"there is no kill {id!r}; `tb kill --list` shows those that hold")
            lifted = _read(entry.value, entry.revision)
            try:
                await self._jet.publish_marker(subject(id), entry.revision)
            except Conflict:
                continue
            log.warning("the kill of %s is lifted", lifted.what)
            return lifted
        raise Conflict(f"the kill {id} changes too fast; try again")

    async def get(self, id: str) -> Kill:
        """Raises `KillNotFound`."""
        entry = await self._jet.get(STREAM, subject(id))
        if entry is None or entry.deleted:
            raise KillNotFound(f"there is no kill {id!r}; `tb kill --list` shows those that hold")
        return _read(entry.value, entry.revision)

    async def told(self) -> list[Kill]:
        """Those that a runner has to know: a session of a job that was killed long ago is too old to run."""
        now, kills = self._clock(), await self.read()
        kept = [k for k in kills.all() if k.scope != "job" or now - k.at < 2 * DISPATCH_LIFE]
        return kept[:MAX_TOLD]

    # --- what others ask -----------------------------------------------------------------------------------

    async def read(self) -> Kills:
        """Those that hold now, as the bucket itself says."""
        # First: what comes between the two has a higher revision, and covers what this reading lets in.
        revision = await self._jet.last_seq(STREAM)
        found = []
        for stored in await self._jet.read_all(STREAM, subject("*")):
            try:
                if stored.data:
                    found.append(_read(stored.data, stored.seq))
            except MessageError as e:
                log.error("%s is left alone: %s", stored.subject, e)
        return Kills(found, revision)

    async def let_in(self, project: str, doing: str, *jobs: str) -> int:
        """The revision that whoever lets in new work has to note. Raises `KillHolds`: `project`, one of
        `jobs`, or the fleet is killed."""
        # As in `read`; each by the stream's leader, since a node that lags behind would let it in for good.
        revision = await self._jet.last_seq(STREAM)
        ids = [kill_id("fleet"), kill_id("project", project), *(kill_id("job", job) for job in jobs)]
        for entry in await asyncio.gather(*(self._jet.get(STREAM, subject(id)) for id in ids)):
            if entry is not None and not entry.deleted:
                raise KillHolds(refusal(_read(entry.value, entry.revision), doing))
        return revision

    # --- telling -------------------------------------------------------------------------------------------

    async def announce(self, kill: Kill) -> None:
        """Tell the runners."""
        at = job_control(kill.job) if kill.scope == "job" else JOB_CONTROL_ALL
        message = JobControl(job=kill.job, command="kill", reason=kill.words, kill=kill)
        await self._jet.nc.publish(at, codec.encode(message))
        # Out at once: it must not die in a buffer with this process.
        try:
            await self._jet.nc.flush(timeout=2)
        except (nats.errors.Error, TimeoutError):
            log.warning("it is not sure that the runners have heard of the kill of %s yet", kill.what)

    def _hear(self, message: FeedMessage) -> None:
        id = message.subject.rpartition(".")[2]
        self.kills.revision = message.seq
        if message.deleted:
            self.kills.lift(id)
            return
        try:
            kill = _read(message.data, message.seq)
            if kill.id != id:
                raise MessageError(f"it calls itself {kill.id}")
        except MessageError as e:
            log.error("%s is left alone: %s", message.subject, e)
            return
        self.kills.put(kill)
        for call in self.on_kill:
            call(kill)
        if self._clock() - kill.at < YOUNG:
            self._to_tell.put_nowait(kill)

    async def _tell(self) -> None:
        while True:
            kill = await self._to_tell.get()
            try:
                await self.announce(kill)
            except (BrokerError, nats.errors.Error) as e:
                log.debug("the kill of %s is not told again: %s", kill.what, e)


def _read(data: bytes, revision: int) -> Kill:
    return msgspec.structs.replace(codec.decode(data, Kill), revision=revision)
