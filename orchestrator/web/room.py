"""One job and the clients that follow it: the newest state, the tail behind it, and who gets what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from broker_config.api import Log, Progress, Snapshot
from broker_config.messages import JobLog, JobProgress
from orchestrator.core.standing import standing
from orchestrator.core.tail import Tail

from .packet import Packet
from .ports import Feed, Jobs, Watch
from .socket_client import SocketClient

#: A job that says nothing for this long is looked up: a last word may have been missed. Then less and less
#: often.
SILENCE = 2.0
_MAX_SILENCE = 16.0


class Update(NamedTuple):
    progress: JobProgress
    packet: Packet


class Room:
    """`clock` is the event loop's. Subscribed to the job from `open` until it has finished or `close`."""

    def __init__(self, job: str, feed: Feed, jobs: Jobs, clock: Callable[[], float]) -> None:
        self.job = job
        self.newest: Update | None = None
        self.closed = False
        self.left_at = clock()
        #: Held while the room opens or closes.
        self.lock = asyncio.Lock()
        self._feed = feed
        self._jobs = jobs
        self._clock = clock
        self._clients: set[SocketClient] = set()
        self._log_clients: set[SocketClient] = set()
        self._tail: Tail[Update] = Tail()
        self._breaks = feed.breaks
        self._watch: Watch | None = None
        self._log_watch: Watch | None = None
        self._silence = SILENCE
        self._look_at = clock() + SILENCE
        self._snapshot: tuple[int, bool | None, Packet] | None = None

    @property
    def finished(self) -> bool:
        return self.newest is not None and self.newest.progress.state == "finished"

    @property
    def empty(self) -> bool:
        return not self._clients

    @property
    def live(self) -> JobProgress | None:
        """The newest state, where it is known to be kept up to date."""
        return self.newest.progress if self.newest and (self._watch or self.finished) else None

    async def open(self) -> None:
        """Subscribe first, then read: nothing falls between. Raises `JobNotFound` and `BrokerError`s."""
        if self.newest is not None:
            return
        self._breaks = self._feed.breaks
        # First of all, so that nobody subscribes to jobs that do not exist.
        await self._jobs.get(self.job)
        self._watch = await self._feed.progress(self.job, self.take)
        try:
            found = await self._read()
        except BaseException:
            await self._stop_progress()
            self.newest = None
            raise
        self.take(found)

    async def close(self) -> None:
        self.closed = True
        await self._stop_progress()
        await self._stop_logs()

    def enter(self, client: SocketClient, *, since: int | None, logs: bool) -> None:
        """Send the snapshot, and from now on the tail. The room must be open; never awaits, so no state
        falls between the two."""
        assert self.newest is not None
        self._check_break()
        missed = self._tail.after(since) if since is not None else None
        recovered = None if since is None else missed is not None or since == self.newest.progress.seq
        first, *rest = missed or [self.newest]
        client.answer(self._snapshot_of(first, recovered), replaces=self.job)
        for update in rest:
            client.answer(update.packet)
        self._clients.add(client)
        client.jobs.add(self.job)
        (self._log_clients.add if logs else self._log_clients.discard)(client)

    def leave(self, client: SocketClient) -> None:
        self._clients.discard(client)
        self._log_clients.discard(client)
        client.jobs.discard(self.job)
        client.forget(self.job)
        self.left_at = self._clock()

    async def want_logs(self) -> None:
        """Subscribe to log lines, if someone wants them and the job may still have some."""
        if self._log_clients and self._log_watch is None and not self.finished:
            self._log_watch = await self._feed.logs(self.job, self._take_log)

    async def tidy(self) -> None:
        """Give up what nobody needs any more."""
        if self.finished:
            await self._stop_progress()
        if self.finished or not self._log_clients:
            await self._stop_logs()

    async def look_if_silent(self) -> None:
        """Look the job up when it has said nothing for long, or after a break of the connection."""
        self._check_break()
        if self.finished or self.empty or self.newest is None or self._clock() < self._look_at:
            return
        self._silence = min(_MAX_SILENCE, self._silence * 2)
        self._look_at = self._clock() + self._silence
        found = await self._read()
        known = self.newest.progress
        if found.state == "finished" and known.state != "finished" and found.seq <= known.seq:
            # Its last word is not to be had any more.
            found = msgspec.structs.replace(found, seq=known.seq + 1)
        self.take(found)

    def take(self, progress: JobProgress) -> None:
        """A state from the feed: everyone gets it if it is newer."""
        self._check_break()
        if self.newest is not None and progress.seq <= self.newest.progress.seq:
            return
        self._silence = SILENCE
        self._look_at = self._clock() + SILENCE
        packet = Packet(Progress(job=self.job, seq=progress.seq, progress=progress))
        self.newest = Update(progress, packet)
        self._tail.append(progress.seq, self.newest, len(packet))
        for client in self._clients:
            client.state(self.job, packet)

    def _take_log(self, log: JobLog) -> None:
        if self._log_clients:
            packet = Packet(Log(log=log))
            for client in self._log_clients:
                client.log(self.job, packet)

    def _check_break(self) -> None:
        if self._breaks != self._feed.breaks:
            self._breaks = self._feed.breaks
            self._tail.clear()
            self._silence = SILENCE
            self._look_at = self._clock()

    def _snapshot_of(self, update: Update, recovered: bool | None) -> Packet:
        p = update.progress
        made = self._snapshot
        if made is None or made[:2] != (p.seq, recovered):
            packet = Packet(Snapshot(job=p.job, seq=p.seq, progress=p, recovered=recovered))
            self._snapshot = made = (p.seq, recovered, packet)
        return made[2]

    async def _read(self) -> JobProgress:
        job = await self._jobs.get(self.job)
        checkpoint = await self._jobs.checkpoint(self.job)
        live = self.newest.progress if self.newest else None
        return standing(job, live, checkpoint.progress if checkpoint else None)

    async def _stop_progress(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()

    async def _stop_logs(self) -> None:
        watch, self._log_watch = self._log_watch, None
        if watch is not None:
            await watch.close()
