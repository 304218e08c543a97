"""Targets of projects, in the bucket `targets`: under `<project>.<id of the origin>`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from broker_config import codec
from broker_config.errors import (
    Conflict,
    MessageError,
    NameRefused,
    Problem,
    ProjectNotFound,
    SpecError,
    TargetNotFound,
)
from broker_config.streams import TARGETS
from broker_config.subjects import token
from broker_config.target_proof import Target, normal, target_id

from .jet import Jet
from .stream_feed import FeedMessage, StreamFeed

log = logging.getLogger(__name__)

STREAM = f"KV_{TARGETS.name}"
#: Of one project.
MAX_TARGETS = 1_000
_ATTEMPTS = 20
_MARKER_TTL = 3600


class TargetStore:
    """Every call may raise `BrokerUnavailable`. `run` watches until cancelled; `known` is what it has seen,
    by key. `clock` gives seconds since 1970; `new_token` makes what nobody can guess."""

    def __init__(self, jet: Jet, *, clock: Callable[[], float], new_token: Callable[[], str]) -> None:
        self._jet = jet
        self._clock = clock
        self._new_token = new_token
        self.known: dict[str, Target] = {}
        #: Grows with each change that is heard of.
        self.version = 0
        self._feed = StreamFeed(jet, STREAM, _subject("*.*"), self._hear)

    @property
    def caught_up(self) -> asyncio.Event:
        return self._feed.caught_up

    async def run(self) -> None:
        await self._feed.run()

    async def add(self, project: str, origin: str, *, by: str = "") -> Target:
        """A new target, not proved yet; or the one that is there. Raises `SpecError` for what can be none."""
        try:
            origin = normal(origin)
        except ValueError as e:
            raise SpecError([Problem("origin", str(e))]) from None
        key = f"{_project(project)}.{target_id(origin)}"
        if (found := await self._read(key))[0] is not None:
            return found[0]
        ids = await self._ids(project)
        if len(ids) >= MAX_TARGETS and len(await self.some(project, ids)) >= MAX_TARGETS:
            raise SpecError([Problem("origin", f"project {project} has {MAX_TARGETS} targets; remove some")])
        made = Target(
            origin=origin,
            project=project,
            token=self._new_token(),
            added_at=self._clock(),
            added_by=by,
        )
        try:
            await self._jet.publish(_subject(key), codec.encode(made), expected_last=found[1])
        except Conflict:
            return await self.get(project, target_id(origin))
        return made

    async def all(self, project: str) -> list[Target]:
        """By origin."""
        found = await self.some(project, await self._ids(project))
        return sorted(found, key=lambda t: t.origin)

    async def some(self, project: str, ids: Iterable[str]) -> list[Target]:
        """Those of these ids that there are, as the bucket itself says."""
        keys = [f"{_project(project)}.{id}" for id in ids]
        return [t for t, _ in await asyncio.gather(*map(self._read, keys)) if t is not None]

    async def get(self, project: str, id: str) -> Target:
        """Raises `TargetNotFound`."""
        return (await self._there(project, id))[0]

    async def change(self, project: str, id: str, change: Callable[[Target], Target]) -> Target:
        """Compare-and-set. Raises `TargetNotFound`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self._there(project, id)
            changed = change(found)
            if changed == found:
                return found
            try:
                await self._jet.publish(_subject(found.key), codec.encode(changed), expected_last=revision)
            except Conflict:
                continue
            return changed
        raise Conflict(f"the target {id} changes too fast; try again")

    async def remove(self, project: str, id: str) -> Target:
        """Raises `TargetNotFound`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self._there(project, id)
            try:
                # A marker, so that those who watch hear of it.
                await self._jet.publish_marker(_subject(found.key), revision, ttl=_MARKER_TTL)
            except Conflict:
                continue
            return found
        raise Conflict(f"the target {id} changes too fast; try again")

    async def forget(self, project: str) -> None:
        """Remove all targets of a project: a later one of the same name must not find them."""
        for id in await self._ids(project):
            try:
                await self.remove(project, id)
            except TargetNotFound:
                continue

    async def _there(self, project: str, id: str) -> tuple[Target, int]:
        try:
            key = f"{_project(project)}.{token(id, 'target')}"
        except NameRefused:
            raise TargetNotFound.of(project, id) from None
        found, revision = await self._read(key)
        if found is None:
            raise TargetNotFound.of(project, id)
        return found, revision

    async def _read(self, key: str) -> tuple[Target | None, int]:
        entry = await self._jet.get(STREAM, _subject(key))
        if entry is None:
            return None, 0
        return None if entry.deleted else codec.decode(entry.value, Target), entry.revision

    async def _ids(self, project: str) -> list[str]:
        """Also of those that were removed."""
        prefix = _subject(f"{_project(project)}.")
        return [s.removeprefix(prefix) for s in await self._jet.subjects(STREAM, f"{prefix}*")]

    def _hear(self, message: FeedMessage) -> None:
        key = message.subject.removeprefix(_subject(""))
        self.version += 1
        if message.deleted:
            self.known.pop(key, None)
            return
        try:
            target = codec.decode(message.data, Target)
            if target.key != key:
                raise MessageError(f"it calls itself {target.key}")
        except (MessageError, NameRefused) as e:
            log.error("%s is left alone: %s", message.subject, e)
            self.known.pop(key, None)
            return
        self.known[key] = target


def _project(name: str) -> str:
    try:
        return token(name, "project")
    except NameRefused as e:
        raise ProjectNotFound(f"there is no project {name[:100]!r}: {e}") from None


def _subject(key: str) -> str:
    return f"$KV.{TARGETS.name}.{key}"
