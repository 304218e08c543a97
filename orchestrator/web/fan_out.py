"""From the feed to the clients: a room for each job that someone follows, and one for the fleet."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

import msgspec

from broker_config.api import Fleet as FleetMessage
from broker_config.errors import BrokerError, JobNotFound
from broker_config.messages import JobProgress

from .packet import Packet
from .ports import Feed, Fleet, Jobs
from .room import Room
from .socket_client import SocketClient

logger = logging.getLogger(__name__)

#: A room without clients stays for a while: whoever lost the connection comes back to an unbroken tail.
LINGER = 30.0
MAX_LINGERING = 200
_TICK = 1.0
#: Key under which the fleet's newest state waits for a slow client; no job id has a dot in it.
FLEET = "fleet."


class FanOut:
    """An async context manager that owns the rooms and the tasks which keep them."""

    def __init__(self, *, feed: Feed, jobs: Jobs, fleet: Fleet) -> None:
        self._feed = feed
        self._jobs = jobs
        self._fleet = fleet
        self._rooms: dict[str, Room] = {}
        self._fleet_clients: dict[SocketClient, int] = {}
        #: Those of them who do not see what runs.
        self._fleet_outsiders: set[SocketClient] = set()
        self._fleet_wanted = asyncio.Event()
        self._fleet_packets: dict[bool, tuple[int, Packet]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        self._tasks = [
            asyncio.create_task(self._keep(), name="fan-out: rooms"),
            asyncio.create_task(self._tell_fleet(), name="fan-out: fleet"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for room in self._rooms.values():
            await room.close()
        self._rooms.clear()

    def latest(self, job: str) -> JobProgress | None:
        """The newest progress of a job that is being followed."""
        room = self._rooms.get(job)
        return room.live if room else None

    async def follow(self, client: SocketClient, job: str, *, since: int | None, logs: bool) -> None:
        """Send the job's snapshot to the client, then its tail. Raises `JobNotFound` and `BrokerError`s."""
        while True:
            room = self._rooms.get(job)
            if room is None:
                room = self._rooms[job] = Room(job, self._feed, self._jobs, self._clock)
            async with room.lock:
                if room.closed:
                    continue
                try:
                    await room.open()
                except BaseException:
                    # Whoever waits for the lock tries again with a room of their own.
                    room.closed = True
                    self._rooms.pop(job, None)
                    raise
                room.enter(client, since=since, logs=logs)
                await room.want_logs()
                return

    def unfollow(self, client: SocketClient, job: str) -> None:
        if room := self._rooms.get(job):
            room.leave(client)

    def follow_fleet(self, client: SocketClient, *, sees_jobs: bool = True) -> None:
        """Send runners and platforms now, and again whenever they change; which sessions run where only to
        those who see the jobs of all projects."""
        seq, packet = self._fleet_now(sees_jobs)
        client.answer(packet, replaces=FLEET)
        self._fleet_clients[client] = seq
        (self._fleet_outsiders.discard if sees_jobs else self._fleet_outsiders.add)(client)
        self._fleet_wanted.set()

    def unfollow_fleet(self, client: SocketClient) -> None:
        self._fleet_clients.pop(client, None)
        self._fleet_outsiders.discard(client)
        client.forget(FLEET)
        if not self._fleet_clients:
            self._fleet_wanted.clear()

    def leave(self, client: SocketClient) -> None:
        """The client is gone."""
        for job in list(client.jobs):
            self.unfollow(client, job)
        self.unfollow_fleet(client)
        client.close()

    def _fleet_now(self, sees_jobs: bool) -> tuple[int, Packet]:
        version = self._fleet.version
        made = self._fleet_packets.get(sees_jobs)
        if made is None or made[0] != version:
            runners, platforms = self._fleet.runners(), self._fleet.platforms()
            if not sees_jobs:
                runners = [msgspec.structs.replace(r, running=[]) for r in runners]
            packet = Packet(FleetMessage(seq=version, runners=runners, platforms=platforms))
            made = self._fleet_packets[sees_jobs] = (version, packet)
        return made

    async def _tell_fleet(self) -> None:
        """At most once a second."""
        version = -1
        while True:
            await self._fleet_wanted.wait()
            try:
                version = await self._fleet.wait_changed(version)
                for client, seen in self._fleet_clients.items():
                    seq, packet = self._fleet_now(client not in self._fleet_outsiders)
                    if seq > seen:
                        self._fleet_clients[client] = seq
                        client.state(FLEET, packet)
            except Exception:
                logger.exception("the fleet could not be told to clients")
            await asyncio.sleep(_TICK)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._tidy()
                await self._look()
            except BrokerError as e:
                logger.info("rooms: %s", e)
            except Exception:
                logger.exception("the rooms could not be kept")

    async def _tidy(self) -> None:
        idle = sorted((r for r in self._rooms.values() if r.empty), key=lambda r: r.left_at)
        surplus = len(idle) - MAX_LINGERING
        for n, room in enumerate(idle):
            if (
                not room.empty
                or room.lock.locked()
                or (n >= surplus and self._clock() - room.left_at < LINGER)
            ):
                continue
            self._rooms.pop(room.job, None)
            async with room.lock:
                await room.close()
        for room in list(self._rooms.values()):
            if not room.lock.locked():
                async with room.lock:
                    await room.tidy()

    async def _look(self) -> None:
        for room in list(self._rooms.values()):
            try:
                await room.look_if_silent()
            except JobNotFound as e:
                logger.warning("a job that clients follow is gone: %s", e)
