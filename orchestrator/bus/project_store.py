"""Projects: what belongs together, who works on it, and how much of it there may be. Every change is a
compare-and-set."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from broker_config.errors import Conflict, NameRefused, Problem, ProjectNotFound, SpecError, UserNotFound
from broker_config.people import DEFAULT_PROJECT, Project, Quotas, Role, User, project_key

from .people_bucket import PeopleBucket

#: Of one project.
MAX_MEMBERS = 2_000


class ProjectStore:
    """Every call may raise `BrokerUnavailable`; those that name a project raise `ProjectNotFound`."""

    def __init__(self, bucket: PeopleBucket, *, clock: Callable[[], float]) -> None:
        self.bucket = bucket
        self._clock = clock

    async def list(self) -> builtins.list[Project]:
        """By name; the default one is always among them."""
        await self.bucket.ready()
        found = self.bucket.all(Project)
        if any(p.name == DEFAULT_PROJECT for p in found):
            return found
        return sorted([*found, Project(name=DEFAULT_PROJECT)], key=lambda p: p.name)

    async def get(self, name: str) -> Project:
        await self.bucket.ready()
        found = self.bucket.cached(Project, name)
        if found is None and name == DEFAULT_PROJECT:
            return Project(name=DEFAULT_PROJECT)
        if found is None:
            raise ProjectNotFound.of(name)
        return found

    async def quotas(self, project: str) -> Quotas:
        return (await self.get(project)).quotas

    async def add(self, name: str, quotas: Quotas) -> Project:
        """Raises `SpecError` for a name that cannot be used, `Conflict` where there is one of that name."""
        try:
            key = project_key(name)
        except NameRefused as e:
            raise SpecError([Problem("name", str(e))]) from None
        found, revision = await self.bucket.read(Project, key)
        made = Project(name=name, created_at=self._clock(), quotas=quotas)
        try:
            if found is not None or name == DEFAULT_PROJECT:
                raise Conflict("it is there")
            await self.bucket.write(key, made, revision)
        except Conflict:
            raise Conflict(f"there is a project {name} already") from None
        return made

    async def set_quotas(self, name: str, changes: Mapping[str, Any]) -> Project:
        """Change some of the quotas, by name."""
        return await self._change(
            name, lambda p: msgspec.structs.replace(p, quotas=msgspec.structs.replace(p.quotas, **changes))
        )

    async def set_member(self, name: str, user: str, role: Role | None) -> Project:
        """Give a user that role in the project; None takes it away."""
        if role is not None and self.bucket.cached(User, user) is None:
            raise UserNotFound.of(user)

        def change(project: Project) -> Project:
            members = {u: r for u, r in project.members.items() if u != user}
            if role is not None:
                members[user] = role
            if len(members) > MAX_MEMBERS:
                what = f"the project has {MAX_MEMBERS} members; more are not possible"
                raise SpecError([Problem("user", what)])
            return msgspec.structs.replace(project, members=members)

        return await self._change(name, change)

    async def leave_all(self, user: str) -> None:
        """Take a user out of all projects."""
        for project in await self.list():
            if user in project.members:
                await self.set_member(project.name, user, None)

    async def remove(self, name: str) -> None:
        """Its jobs stay, for admins of the fleet to see. Raises `SpecError` for the default one."""
        if name == DEFAULT_PROJECT:
            raise SpecError([Problem("name", f"the project {DEFAULT_PROJECT} is always there")])
        await self.bucket.remove_any(Project, _project_key(name), lambda: ProjectNotFound.of(name))

    async def _change(self, name: str, change: Callable[[Project], Project]) -> Project:
        default = Project(name=name, created_at=self._clock()) if name == DEFAULT_PROJECT else None
        return await self.bucket.change(
            Project, _project_key(name), change, lambda: ProjectNotFound.of(name), default
        )


def _project_key(name: str) -> str:
    try:
        return project_key(name)
    except NameRefused:
        raise ProjectNotFound.of(name) from None
