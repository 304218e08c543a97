"""Who did what: notes on their way into the stream AUDIT, and what is read from it.

Any number of orchestrators append. An entry holds the hash of the one before, so each append is a
compare-and-set on the last sequence of the stream; who loses reads the new head and ties its entry to that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import msgspec

from broker_config.api import AuditEntryPage, AuditTail, ChainReport
from broker_config.errors import BrokerError, BrokerUnavailable, Conflict, StreamFull
from broker_config.messages import AuditEntry
from broker_config.streams import AUDIT, GIB
from broker_config.subjects import AUDIT_ENTRY, AUDITS
from orchestrator.core.audit_chain import ChainCheck, Head, entry_of, head_of, link
from orchestrator.core.audit_filter import AuditFilter
from orchestrator.core.audit_flood import AuditFlood
from orchestrator.core.audit_note import AuditNote

from .jet import Jet, Stored
from .stream_feed import FeedMessage, StreamFeed

log = logging.getLogger(__name__)

#: Notes that wait for the broker. With so many nothing is changed any more.
MAX_WAITING = 1_000
#: Notes of what was under way by then are still taken, up to so many.
_MOST_WAITING = 2 * MAX_WAITING
_RETRY = 0.25
#: How long the end waits for what is not written yet, s.
FLUSH_WITHIN = 3.0
_FLOOD_EVERY = 5.0
_PAGE = 500
#: Entries that one request looks through at most.
_MAX_LOOKED_AT = 20_000
#: Clocks of orchestrators differ by so much at most, s: entries are not quite in the order of their times.
_SKEW = 300.0


class _Waiting(NamedTuple):
    note: AuditNote
    at: float
    written: asyncio.Future[None]


class _Doubt(NamedTuple):
    """An append whose outcome is not known."""

    data: bytes
    head: Head


class AuditLog:
    """`run` writes until it is cancelled, and then what is still waiting, `FLUSH_WITHIN` seconds long.

    `name` is this orchestrator's; `clock` gives seconds since 1970. All but `note` and `check_room` may raise
    `BrokerUnavailable`.
    """

    def __init__(self, jet: Jet, name: str, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._name = name
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._flood = AuditFlood()
        self._left_out = 0
        self._head: Head | None = None
        self._doubt: _Doubt | None = None
        self._trouble: BrokerError | None = None
        self._noted = asyncio.Event()
        self._grown = asyncio.Event()

    # --- noting ------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises `BrokerUnavailable` or `StreamFull` where too much waits already to note another change."""
        if len(self._waiting) < MAX_WAITING:
            return
        if isinstance(self._trouble, StreamFull):
            raise StreamFull(
                f"the audit log is full (stream {AUDIT.name}, {AUDIT.max_bytes / GIB:g} GiB unless it was "
                "raised), and what cannot be noted is not done; raise its max_bytes at the broker"
            )
        raise BrokerUnavailable(
            f"{len(self._waiting)} entries of the audit log wait for the broker; nothing is changed until it "
            "takes them, try again"
        )

    def note(self, note: AuditNote) -> Awaitable[object]:
        """Put it into the queue; what comes back is done when it stands in the stream, or when it is only
        counted: refusals in great number, and those for which there is no room."""
        now = self._clock()
        most = MAX_WAITING if note.result == "refused" else _MOST_WAITING
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._flood.pass_on(note, now):
            written.set_result(None)
        elif len(self._waiting) >= most:
            self._left_out += note.times
            written.set_result(None)
        else:
            self._waiting.append(_Waiting(note, now, written))
            self._noted.set()
        return written

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(), name="what others note")
                group.create_task(self._write(), name="write the audit log")
        finally:
            await self._flush()

    async def _write(self) -> None:
        while True:
            self._noted.clear()
            self._take_held_back()
            await self._write_waiting()
            try:
                async with asyncio.timeout(_FLOOD_EVERY):
                    await self._noted.wait()
            except TimeoutError:
                continue

    async def _flush(self) -> None:
        self._take_held_back(everything=True)
        try:
            async with asyncio.timeout(FLUSH_WITHIN):
                await self._write_waiting()
        except TimeoutError:
            left = len(self._waiting)
            log.error("%d entries of the audit log are lost: the broker did not take them", left)

    def _take_held_back(self, *, everything: bool = False) -> None:
        now = self._clock()
        notes = self._flood.due(now, everything=everything)
        if self._left_out and len(self._waiting) < MAX_WAITING:
            detail = "the queue was full while the broker did not take them"
            left_out = AuditNote(
                action="audit.left_out",
                result="failed",
                kind="orchestrator",
                actor=self._name,
                times=self._left_out,
                detail=detail,
            )
            notes.append(left_out)
            self._left_out = 0
        loop = asyncio.get_running_loop()
        self._waiting.extend(_Waiting(n, now, loop.create_future()) for n in notes)

    async def _write_waiting(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            await self._append(first)
            self._waiting.popleft()
            if not first.written.done():
                first.written.set_result(None)

    async def _append(self, waiting: _Waiting) -> None:
        """Until it is in the stream, however long that takes."""
        while True:
            try:
                if await self._try(waiting):
                    self._trouble = None
                    return
            except BrokerError as e:
                if type(e) is not type(self._trouble):
                    log.error("the audit log cannot be written, trying on: %s", e)
                self._trouble = e
                await asyncio.sleep(_RETRY)

    async def _try(self, waiting: _Waiting) -> bool:
        """True if the entry is in the stream; False if another was quicker."""
        if self._doubt is not None and await self._is_stored(self._doubt):
            self._head, self._doubt = self._doubt.head, None
            return True
        self._doubt = None
        if self._head is None:
            self._head = await self._read_head()
        before = self._head
        data, after = link(waiting.note, before, at=waiting.at, by=self._name)
        # Set first: a publish that is broken off may have arrived.
        self._doubt = _Doubt(data, after)
        self._head = None
        try:
            await self._jet.publish(AUDIT_ENTRY, data, expected_last_of_stream=before.number)
        except Conflict:
            # Perhaps with what was sent of this very entry before.
            return False
        self._head, self._doubt = after, None
        return True

    async def _is_stored(self, doubt: _Doubt) -> bool:
        found = await self._jet.read(AUDIT.name, AUDITS, start=doubt.head.number, limit=1)
        return bool(found) and (found[0].seq, found[0].data) == (doubt.head.number, doubt.data)

    async def _read_head(self) -> Head:
        last = await self._jet.last_seq(AUDIT.name)
        if last == 0:
            return Head()
        found = await self._jet.read(AUDIT.name, AUDITS, start=last, limit=1)
        # What was removed by hand leaves its number: the chain goes on, and shows that it is broken.
        return head_of(last, found[0].data if found and found[0].seq == last else b"")

    async def _watch(self) -> None:
        while True:
            try:
                start = await self._jet.last_seq(AUDIT.name) + 1
                break
            except BrokerError as e:
                log.debug("the audit log is not watched yet: %s", e)
                await asyncio.sleep(_RETRY)
        await StreamFeed(self._jet, AUDIT.name, AUDITS, self._tell, start=start).run()

    def _tell(self, message: FeedMessage) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    # --- reading -----------------------------------------------------------------------------------------

    async def page(self, *, before: int | None, limit: int, only: AuditFilter) -> AuditEntryPage:
        """The newest entries whose number is below `before`, newest first; `next` is a number."""
        last = await self._jet.last_seq(AUDIT.name) if before is None else before - 1
        size = limit if only == AuditFilter() else _PAGE
        items: list[AuditEntry] = []
        looked_at = 0
        while last > 0 and looked_at < _MAX_LOOKED_AT:
            first = max(1, last - size + 1)
            stored = await self._jet.read(AUDIT.name, AUDITS, start=first, limit=last - first + 1)
            for entry in (_entry(s) for s in reversed(stored) if s.seq <= last):
                if entry.at < only.since - _SKEW:
                    return AuditEntryPage(items=items)
                if only.fits(entry):
                    items.append(entry)
                    if len(items) == limit:
                        return AuditEntryPage(
                            items=items, next=str(entry.number) if entry.number > 1 else None
                        )
            looked_at += last - first + 1
            last = first - 1
        return AuditEntryPage(items=items, next=str(last + 1) if last > 0 else None)

    async def tail(self, *, after: int | None, limit: int, only: AuditFilter, wait: float) -> AuditTail:
        """Entries above `after` (None: the newest), oldest first; waits for one, `wait` seconds at most."""
        if after is None:
            after = await self._jet.last_seq(AUDIT.name)
        clock = asyncio.get_running_loop().time
        end = clock() + wait
        while True:
            grown = self._grown
            items: list[AuditEntry] = []
            stored = await self._jet.read(AUDIT.name, AUDITS, start=after + 1, limit=_PAGE)
            for one in stored:
                after = one.seq
                if only.fits(entry := _entry(one)):
                    items.append(entry)
                    if len(items) == limit:
                        break
            if items or clock() >= end:
                return AuditTail(items=items, last=after)
            if stored:
                continue
            try:
                async with asyncio.timeout_at(end):
                    await grown.wait()
            except TimeoutError:
                return AuditTail(items=[], last=after)

    async def verify(self, noted: str = "") -> ChainReport:
        """Read all of it and check the chain; `noted` is the hash of an entry that must be in it."""
        check = ChainCheck(noted)
        async for stored in self._all():
            for one in stored:
                check.take(one.data, one.seq, is_foreign=one.subject != AUDIT_ENTRY)
            # Others have their turn.
            await asyncio.sleep(0)
        return check.report()

    async def export(self) -> AsyncIterator[bytes]:
        """All entries as they are stored, one a line, some hundreds at a time."""
        async for stored in self._all():
            yield b"".join(one.data.replace(b"\n", b" ") + b"\n" for one in stored)

    async def _all(self) -> AsyncIterator[list[Stored]]:
        start = 1
        while stored := await self._jet.read(AUDIT.name, AUDITS, start=start, limit=_PAGE):
            yield stored
            start = stored[-1].seq + 1


def _entry(stored: Stored) -> AuditEntry:
    """As it is shown. What was put into the stream by somebody else is shown too, as what it is."""
    found = entry_of(stored.data)
    if found is None:
        text = stored.data[:200].decode("utf-8", "backslashreplace")
        detail = f"this is no entry of the audit log: {text}"
        return AuditEntry(
            number=stored.seq, at=stored.at, action="unreadable", result="failed", detail=detail
        )
    return msgspec.structs.replace(found, number=stored.seq)
