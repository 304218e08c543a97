"""The bucket `people`, with all its documents in memory, kept true by following it.

What one orchestrator changes, the others see as soon as the broker has told them: within milliseconds, or
about two seconds after an outage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from broker_config import codec
from broker_config.errors import BrokerUnavailable, Conflict, MessageError
from broker_config.people import ApiToken, Login, Project, User
from broker_config.streams import PEOPLE

from .jet import TIMEOUT, Jet
from .stream_feed import FeedMessage, StreamFeed

log = logging.getLogger(__name__)

_ATTEMPTS = 20
STREAM = f"KV_{PEOPLE.name}"
_PREFIX = f"$KV.{PEOPLE.name}."
_KINDS: dict[str, type[Any]] = {"user": User, "project": Project, "token": ApiToken, "login": Login}

T = TypeVar("T", User, Project, ApiToken, Login)


class _Cached(NamedTuple):
    #: None where it was removed here and the broker has not yet told so.
    document: User | Project | ApiToken | Login | None
    revision: int


class PeopleBucket:
    """`run` follows the bucket; until it has caught up, all reading waits. Every call may raise
    `BrokerUnavailable`."""

    def __init__(self, jet: Jet) -> None:
        self._jet = jet
        self._cache: dict[str, dict[str, _Cached]] = {kind: {} for kind in _KINDS}
        self._feed = StreamFeed(jet, STREAM, f"{_PREFIX}>", self._heard)
        self._changed = asyncio.Event()
        #: Grows with each change but those of `last_used_at`.
        self.version = 0

    async def run(self) -> None:
        await self._feed.run()

    async def wait_changed(self, after: int) -> int:
        """Wait until `version` is above `after`; returns it."""
        while self.version <= after:
            await self._changed.wait()
        return self.version

    async def ready(self) -> None:
        """Wait until the cache can be trusted. While the broker is away it cannot: what was revoked
        meanwhile is not known."""
        if self._feed.caught_up.is_set() and self._jet.nc.is_connected:
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._feed.caught_up.wait()
        except TimeoutError:
            raise BrokerUnavailable("the broker does not tell who may what; try again") from None
        if not self._jet.nc.is_connected:
            raise BrokerUnavailable("the broker is away, and with it who may what; try again")

    def cached(self, kind: type[T], name: str) -> T | None:
        found = self._cache[_word(kind)].get(name)
        return found.document if found is not None else None  # type: ignore[return-value]

    def all(self, kind: type[T]) -> list[T]:
        """By name or id."""
        entries = self._cache[_word(kind)]
        return [d for name in sorted(entries) if (d := entries[name].document) is not None]  # type: ignore[misc]

    async def read(self, kind: type[T], key: str) -> tuple[T | None, int]:
        """The document as the stream's leader has it, and its revision; 0 if there never was one."""
        entry = await self._jet.get(STREAM, _PREFIX + key)
        if entry is None or entry.deleted:
            return None, 0 if entry is None else entry.revision
        return codec.decode(entry.value, kind), entry.revision

    async def write(self, key: str, document: T, revision: int, *, life: float | None = None) -> None:
        """Replace the document of that revision (0: there is none). After `life` seconds it goes by itself.
        Raises `Conflict` and `StreamFull`."""
        ttl = None if life is None else max(1, int(life))
        ack = await self._jet.publish(_PREFIX + key, codec.encode(document), expected_last=revision, ttl=ttl)
        self._put(key, document, ack.seq)

    async def remove(self, key: str, revision: int, *, life: float | None = None) -> None:
        """Remove the document of that revision. A mark of it stays for `life` seconds, or for ever: who comes
        back to the bucket after a long while must still see that it is gone. Raises `Conflict`."""
        ttl = None if life is None else max(1, int(life))
        ack = await self._jet.publish_marker(_PREFIX + key, revision, ttl=ttl)
        self._put(key, None, ack.seq)

    async def change(
        self,
        kind: type[T],
        key: str,
        change: Callable[[T], T],
        missing: Callable[[], Exception],
        default: T | None = None,
    ) -> T:
        """Replace the document by what `change` makes of it, or of `default` where there is none; it may be
        asked again. Raises what `missing` gives, and `Conflict`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self.read(kind, key)
            before = default if found is None else found
            if before is None:
                raise missing()
            after = change(before)
            if after == found:
                return after
            try:
                await self.write(key, after, revision)
            except Conflict:
                continue
            return after
        raise _too_fast(key)

    async def remove_any(self, kind: type[T], key: str, missing: Callable[[], Exception]) -> T:
        """Remove the document, whatever its revision; what it was. Raises what `missing` gives, and
        `Conflict`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self.read(kind, key)
            if found is None:
                raise missing()
            try:
                await self.remove(key, revision, life=None)
            except Conflict:
                continue
            return found
        raise _too_fast(key)

    def _put(self, key: str, document: Any, revision: int) -> None:
        """Take over what was written here. What the feed has passed already, it has told better."""
        kind, _, name = key.partition(".")
        if revision > self._feed.last_seq:
            before = self._cache[kind].get(name)
            self._cache[kind][name] = _Cached(document, revision)
            self._tell(before.document if before else None, document)

    def _heard(self, message: FeedMessage) -> None:
        kind, _, name = message.subject.removeprefix(_PREFIX).partition(".")
        if kind not in _KINDS:
            return
        entries = self._cache[kind]
        before = entries.get(name)
        if before is not None and before.revision > message.seq:
            return
        document = None
        if not message.deleted:
            try:
                document = codec.decode(message.data, _KINDS[kind])
            except MessageError as e:
                # As if it were not there: nobody is let in by what cannot be read.
                log.error("%s.%s in the bucket %s: %s", kind, name, PEOPLE.name, e)
        if document is None:
            entries.pop(name, None)
        else:
            entries[name] = _Cached(document, message.seq)
        self._tell(before.document if before else None, document)

    def _tell(self, before: Any, now: Any) -> None:
        if _essence(before) == _essence(now):
            return
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _too_fast(key: str) -> Conflict:
    return Conflict(f"{key.replace('.', ' ', 1)} changes too fast; try again")


def _word(kind: type[Any]) -> str:
    return next(word for word, k in _KINDS.items() if k is kind)


def _essence(document: Any) -> Any:
    """Without what changes by mere use."""
    if isinstance(document, ApiToken | Login):
        return msgspec.structs.replace(document, last_used_at=0.0)
    return document
