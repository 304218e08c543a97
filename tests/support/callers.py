"""Who asks, in tests of the web side alone: credentials in memory, given and taken away at once."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from broker_config.errors import ProjectNotFound
from broker_config.people import DEFAULT_PROJECT, Project, Role
from orchestrator.core.access import Principal
from orchestrator.web.opening import as_anonymous

ADMIN = as_anonymous("admin")
_ids = itertools.count(1)


class MemoryAuthenticator:
    """`bearers` and `cookies` are principals by secret."""

    def __init__(self) -> None:
        self.bearers: dict[str, Principal] = {}
        self.cookies: dict[str, Principal] = {}
        self.version = 0
        self.asked = 0
        self._changed = asyncio.Event()

    def put(self, name: str, role: Role | None = "viewer", **projects: Role) -> str:
        """A secret, good as a bearer's and in a cookie. An admin has all projects."""
        secret = f"secret-{next(_ids)}-of-{name}"
        who = Principal(
            kind="user",
            name=name,
            role=role,
            projects=projects,
            all_projects=role == "admin",
            credential=secret,
        )
        self.bearers[secret] = self.cookies[secret] = who
        return secret

    def change(self, secret: str, role: Role | None = "viewer", **projects: Role) -> None:
        was = self.bearers[secret]
        who = msgspec.structs.replace(was, role=role, projects=projects, all_projects=role == "admin")
        self.bearers[secret] = self.cookies[secret] = who
        self._tell()

    def revoke(self, secret: str, *, tell: bool = True) -> None:
        del self.bearers[secret], self.cookies[secret]
        if tell:
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def bearer(self, secret: str, now: float) -> Principal | None:
        self.asked += 1
        return self.bearers.get(secret)

    async def cookie(self, secret: str, now: float) -> Principal | None:
        self.asked += 1
        return self.cookies.get(secret)

    async def valid(self, principal: Principal, now: float) -> Principal | None:
        return self.bearers.get(principal.credential)

    async def wait_changed(self, after: int) -> int:
        while self.version <= after:
            await self._changed.wait()
        return self.version


class MemoryProjects:
    def __init__(self) -> None:
        self.names = {DEFAULT_PROJECT}

    async def get(self, name: str) -> Project:
        if name not in self.names:
            raise ProjectNotFound.of(name)
        return Project(name=name)
