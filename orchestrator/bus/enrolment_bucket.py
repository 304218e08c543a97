"""The bucket `enrolment`: invites, runners, revoked keys. What is revoked is in memory, too, and followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from broker_config import codec
from broker_config.enrolment import EnrolledRunner, Invite, RevokedKey
from broker_config.errors import BrokerUnavailable, MessageError
from broker_config.streams import ENROLMENT

from .jet import TIMEOUT, Jet
from .stream_feed import FeedMessage, StreamFeed

log = logging.getLogger(__name__)

STREAM = f"KV_{ENROLMENT.name}"
_PREFIX = f"$KV.{ENROLMENT.name}."
_KINDS: dict[str, type[Any]] = {"runner": EnrolledRunner, "revoked": RevokedKey}

T = TypeVar("T", Invite, EnrolledRunner, RevokedKey)


class EnrolmentBucket:
    """`run` follows the bucket; `changed` is called when a runner joins or is revoked, here or elsewhere."""

    def __init__(self, jet: Jet, changed: Callable[[], None]) -> None:
        self._jet = jet
        self._changed = changed
        self._feed = StreamFeed(jet, STREAM, f"{_PREFIX}>", self._heard)
        self._runners: dict[str, EnrolledRunner] = {}
        self._revoked: dict[str, float] = {}

    async def run(self) -> None:
        await self._feed.run()

    async def ready(self) -> None:
        """Wait until all that was there has been seen. Raises `BrokerUnavailable`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._feed.caught_up.wait()
        except TimeoutError:
            raise BrokerUnavailable("the broker does not tell which runners have joined; try again") from None

    def runner(self, name: str) -> EnrolledRunner | None:
        """As last heard."""
        return self._runners.get(name)

    def revoked(self, now: float) -> dict[str, float]:
        """Keys that hold no more, and until when tokens of theirs could."""
        found = {r.key: r.expires_at for r in self._runners.values() if r.revoked_at is not None}
        return {key: until for key, until in (found | self._revoked).items() if until > now}

    async def read(self, kind: type[T], key: str) -> tuple[T | None, int]:
        """The document as the stream's leader has it, and its revision."""
        entry = await self._jet.get(STREAM, _PREFIX + key)
        if entry is None or entry.deleted:
            return None, 0 if entry is None else entry.revision
        return codec.decode(entry.value, kind), entry.revision

    async def invites(self) -> list[Invite]:
        found = []
        for subject in await self._jet.subjects(STREAM, f"{_PREFIX}invite.*"):
            invite, _ = await self.read(Invite, subject.removeprefix(_PREFIX))
            if invite is not None:
                found.append(invite)
        return found

    async def write(
        self,
        key: str,
        document: Invite | EnrolledRunner | RevokedKey,
        revision: int | None,
        *,
        life: float = 0,
    ) -> None:
        """Replace the document of that revision (0: there is none; None: whatever is there). After `life`
        seconds it goes by itself. Raises `Conflict` and `StreamFull`."""
        ttl = max(1, int(life)) if life else None
        data = codec.encode(document)
        ack = await self._jet.publish(_PREFIX + key, data, expected_last=revision, ttl=ttl)
        if ack.seq > self._feed.last_seq:
            # The feed is about to tell it, too; who asks next must not find it missing.
            self._take(key, document)

    async def remove(self, key: str, revision: int) -> None:
        """Raises `Conflict`."""
        await self._jet.publish_marker(_PREFIX + key, revision)

    def _heard(self, message: FeedMessage) -> None:
        key = message.subject.removeprefix(_PREFIX)
        kind = _KINDS.get(key.partition(".")[0])
        if kind is None:
            return
        try:
            self._take(key, None if message.deleted else codec.decode(message.data, kind))
        except MessageError as e:
            log.error("%s in the bucket %s: %s", key, ENROLMENT.name, e)

    def _take(self, key: str, document: Invite | EnrolledRunner | RevokedKey | None) -> None:
        kind, _, name = key.partition(".")
        if kind == "runner":
            if isinstance(document, EnrolledRunner):
                self._runners[name] = document
            else:
                self._runners.pop(name, None)
        elif kind == "revoked":
            if isinstance(document, RevokedKey):
                self._revoked[name] = document.until
            else:
                self._revoked.pop(name, None)
        else:
            return
        self._changed()
