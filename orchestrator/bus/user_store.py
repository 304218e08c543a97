"""Users: who there is. Every change is a compare-and-set."""

from __future__ import annotations

import builtins
from collections.abc import Callable

import msgspec

from broker_config.errors import Conflict, NameRefused, Problem, SpecError, UserNotFound
from broker_config.people import RESERVED_NAMES, Role, User, user_key

from .credential_store import CredentialStore
from .people_bucket import PeopleBucket
from .project_store import ProjectStore


class UserStore:
    """Every call may raise `BrokerUnavailable`; those that name a user raise `UserNotFound`."""

    def __init__(
        self,
        bucket: PeopleBucket,
        projects: ProjectStore,
        credentials: CredentialStore,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.bucket = bucket
        self._projects = projects
        self._credentials = credentials
        self._clock = clock

    async def list(self) -> builtins.list[User]:
        """By name."""
        await self.bucket.ready()
        return self.bucket.all(User)

    async def get(self, name: str) -> User:
        await self.bucket.ready()
        found = self.bucket.cached(User, name)
        if found is None:
            raise UserNotFound.of(name)
        return found

    async def vouched_for(self, oidc: str) -> User | None:
        """The one for whom that issuer and subject vouches."""
        await self.bucket.ready()
        return next((u for u in self.bucket.all(User) if u.oidc == oidc), None)

    async def add(self, name: str, role: Role, *, password_hash: str = "", oidc: str = "") -> User:
        """Raises `SpecError` for a name that cannot be used, `Conflict` where there is one of that name."""
        if name in RESERVED_NAMES:
            raise SpecError([Problem("name", f"{name!r} is not a person; choose another name")])
        try:
            key = user_key(name)
        except NameRefused as e:
            raise SpecError([Problem("name", str(e))]) from None
        found, revision = await self.bucket.read(User, key)
        if found is not None:
            raise Conflict(f"there is a user {name} already")
        # Somebody may have made an earlier one a member while it was removed.
        await self._projects.leave_all(name)
        made = User(
            name=name,
            role=role,
            created_at=self._clock(),
            password_hash=password_hash,
            oidc=oidc,
            # Above that of any earlier user of that name, so that what was theirs stays of no use.
            generation=revision,
        )
        try:
            await self.bucket.write(key, made, revision)
        except Conflict:
            raise Conflict(f"there is a user {name} already") from None
        return made

    async def change(self, name: str, change: Callable[[User], User]) -> User:
        """Replace the user by what `change` makes of it; it may be asked again."""
        return await self.bucket.change(User, _user_key(name), change, lambda: UserNotFound.of(name))

    async def set_password(self, name: str, password_hash: str) -> User:
        """Ends all logins and tokens of the user."""
        return await self.change(
            name,
            lambda u: msgspec.structs.replace(u, password_hash=password_hash, generation=u.generation + 1),
        )

    async def rehash(self, name: str, before: str, after: str) -> None:
        """Keep the same password in another form; nothing ends by it."""
        await self.change(
            name,
            lambda u: msgspec.structs.replace(u, password_hash=after) if u.password_hash == before else u,
        )

    async def remove(self, name: str) -> None:
        """Cut off at once, then taken out of all projects, then removed."""
        await self.change(
            name, lambda u: msgspec.structs.replace(u, disabled=True, generation=u.generation + 1)
        )
        await self._projects.leave_all(name)
        await self._credentials.forget(name)
        await self.bucket.remove_any(User, _user_key(name), lambda: UserNotFound.of(name))


def _user_key(name: str) -> str:
    try:
        return user_key(name)
    except NameRefused:
        raise UserNotFound.of(name) from None
