"""Open sockets and who is behind each: looked at again when rights change, and now and then.

A socket whose credential has ended is closed by 4401; one that follows what it may not follow any more by
4403.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from broker_config.errors import BrokerError, JobNotFound
from orchestrator.core.access import Access, Principal, may, role_in

from .job_projects import JobProjects
from .ports import Authenticator
from .socket_client import SocketClient

logger = logging.getLogger(__name__)

#: Everything is looked at so often even if nobody says that something has changed, s: credentials expire.
LOOK_EVERY = 30.0
#: Pause after the broker was away, s.
_AGAIN = 1.0
ENDED, FORBIDDEN = 4401, 4403
FLEET_ACCESS = Access(scope="fleet")


class Closing(NamedTuple):
    code: int
    reason: str


class Member:
    """An open socket. Once `closing` is set, what serves it is on its way out."""

    __slots__ = ("_scope", "client", "closing", "follows_fleet", "principal")

    def __init__(self, principal: Principal, client: SocketClient, scope: asyncio.Timeout) -> None:
        self.principal = principal
        self.client = client
        self.follows_fleet = False
        self.closing: Closing | None = None
        self._scope = scope

    def close(self, code: int, reason: str) -> None:
        if self.closing is None:
            self.closing = Closing(code, reason)
            # Ends the scope, and with it what waits inside.
            self._scope.reschedule(asyncio.get_running_loop().time())


class SocketWatch:
    """An async context manager that owns the task which looks."""

    def __init__(self, authenticator: Authenticator, projects: JobProjects) -> None:
        self._authenticator = authenticator
        self._projects = projects
        self._members: set[Member] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="socket watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    @contextmanager
    def watched(self, principal: Principal, client: SocketClient, scope: asyncio.Timeout) -> Iterator[Member]:
        """`scope` is what the socket is served in; it is ended when the socket is to be closed."""
        member = Member(principal, client, scope)
        self._members.add(member)
        try:
            yield member
        finally:
            self._members.discard(member)

    async def look_at(self, member: Member) -> None:
        """Once it is watched: its rights may have ended since the handshake began."""
        try:
            await self._look([member])
        except BrokerError as e:
            logger.info("the rights of a new socket cannot be looked at: %s", e)

    async def may_follow(self, member: Member, job: str) -> bool:
        """False for a job of somebody else's. Raises `JobNotFound` and `BrokerError`s."""
        return role_in(member.principal, await self._projects.of(job)) is not None

    async def _run(self) -> None:
        seen = self._authenticator.version
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    seen = await self._authenticator.wait_changed(seen)
            except TimeoutError:
                pass
            try:
                await self._look(list(self._members))
            except BrokerError as e:
                # Nobody is closed for that: who could say that it is right?
                logger.info("the rights of open sockets cannot be looked at: %s", e)
                seen = -1
                await asyncio.sleep(_AGAIN)
            except Exception:
                logger.exception("the rights of open sockets could not be looked at")
                await asyncio.sleep(_AGAIN)

    async def _look(self, members: Iterable[Member]) -> None:
        now = time.time()
        found: dict[str, Principal | None] = {}
        for member in members:
            who = member.principal
            if who.kind == "anonymous":
                continue
            if who.credential not in found:
                found[who.credential] = await self._authenticator.valid(who, now)
            is_now = found[who.credential]
            if is_now is None:
                member.close(ENDED, "the login or token has ended; sign in again")
            elif is_now != who:
                member.principal = is_now
                if member.follows_fleet and who.all_projects and not is_now.all_projects:
                    member.close(FORBIDDEN, "the right to see all jobs has ended")
                await self._look_at_rights(member)

    async def _look_at_rights(self, member: Member) -> None:
        if member.follows_fleet and not may(member.principal, FLEET_ACCESS):
            member.close(FORBIDDEN, "the right to see the fleet has ended")
        for job in list(member.client.jobs):
            try:
                if not await self.may_follow(member, job):
                    member.close(FORBIDDEN, f"the right to see job {job} has ended")
            except JobNotFound:
                continue
