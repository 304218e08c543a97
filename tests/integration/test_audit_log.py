"""The audit log on a real broker: several append to one chain, whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker_config import codec, connection
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerError, BrokerUnavailable, StreamFull
from broker_config.messages import AuditEntry
from broker_config.messages.audit_entry import canonical, hash_of
from broker_config.provisioning import provision
from broker_config.streams import AUDIT
from broker_config.subjects import AUDIT_ENTRY
from orchestrator.bus.audit_log import MAX_WAITING, AuditLog
from orchestrator.bus.jet import Jet
from orchestrator.core.audit_filter import AuditFilter
from orchestrator.core.audit_flood import EACH
from orchestrator.core.audit_note import AuditNote
from tests.support.waiting import eventually

EVERYTHING = AuditFilter()


class Desk:
    """One orchestrator's audit log, and the task that writes it."""

    def __init__(self, jet: Jet, log: AuditLog, task: asyncio.Task[None]) -> None:
        self.jet = jet
        self.log = log
        self.task = task

    async def note(self, *objects: str, action: str = "job.submit") -> None:
        await asyncio.gather(*(self.log.note(AuditNote(action=action, object=o)) for o in objects))

    async def entries(self) -> list[AuditEntry]:
        return [json.loads(line) and codec.decode(line, AuditEntry) for line in await self.lines()]

    async def lines(self) -> list[bytes]:
        return b"".join([page async for page in self.log.export()]).splitlines()


@asynccontextmanager
async def desk(broker: EmbeddedServer, name: str = "one") -> AsyncIterator[Desk]:
    async with connection.connected(broker.url, name=name, reconnect_wait=0.1) as nc:
        await provision(nc, streams=[AUDIT], buckets=[])
        log = AuditLog(Jet(nc), name, clock=time.time)
        task = asyncio.create_task(log.run())
        try:
            yield Desk(Jet(nc), log, task)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_two_that_append_at_once_make_one_chain(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker, "one") as one, desk(own_broker, "two") as two:
        mine, yours = [f"a{n}" for n in range(500)], [f"b{n}" for n in range(500)]
        async with asyncio.timeout(30):
            await asyncio.gather(one.note(*mine), two.note(*yours))
        entries = await one.entries()
        assert [e.number for e in entries] == list(range(1, 1001))
        # Each in its own order, and not one after the other.
        assert [e.object for e in entries if e.by == "one"] == mine
        assert [e.object for e in entries if e.by == "two"] == yours
        assert len({e.by for e in entries[:600]}) == 2
        reports = await asyncio.gather(one.log.verify(), two.log.verify(entries[99].hash))
        assert [(r.holds, r.entries, r.head) for r in reports] == [(True, 1000, entries[-1].hash)] * 2
        assert reports[1].after_noted == 900


async def test_none_is_lost_or_doubled_when_the_broker_is_killed_in_between(
    own_broker: EmbeddedServer,
) -> None:
    async with desk(own_broker, "one") as one, desk(own_broker, "two") as two:
        waiting = [
            asyncio.ensure_future(d.log.note(AuditNote(action="job.submit", object=f"{d is one}{n}")))
            for n in range(400)
            for d in (one, two)
        ]
        for at in (100, 400):
            await eventually(lambda at=at: sum(w.done() for w in waiting) >= at, 20)  # type: ignore[misc]
            os.kill(own_broker.pid, signal.SIGKILL)
            await asyncio.wait([w for w in waiting if not w.done()][:1], timeout=20)
        async with asyncio.timeout(30):
            await asyncio.gather(*waiting)
        entries = await one.entries()
        assert Counter(e.object for e in entries) == Counter(
            {f"{who}{n}": 1 for n in range(400) for who in (True, False)}
        )
        assert (await two.log.verify()).holds


async def test_what_waits_is_written_at_the_end(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker) as one:
        await one.note("first")
        for n in range(100):
            one.log.note(AuditNote(action="job.submit", object=str(n)))
        one.task.cancel()
        await asyncio.wait([one.task])
        assert one.task.cancelled()
        assert [e.object for e in await one.entries()] == ["first", *map(str, range(100))]
        assert (await one.log.verify()).holds


async def test_an_entry_of_which_nobody_knows_whether_it_arrived_is_there_once(
    own_broker: EmbeddedServer,
) -> None:
    async with desk(own_broker) as one:
        await one.note("first")
        nc = one.jet.nc
        sent = nc.stats["out_msgs"]
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            one.log.note(AuditNote(action="job.submit", object="second"))
            await eventually(lambda: nc.stats["out_msgs"] > sent and nc.pending_data_size == 0)
            # The broker has it and has not answered. What is not written is tried again at the end.
            one.task.cancel()
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        await asyncio.wait([one.task])
        assert [e.object for e in await one.entries()] == ["first", "second"]
        assert (await one.log.verify()).holds


async def test_without_a_broker_changes_are_refused_once_the_queue_is_full(
    own_broker: EmbeddedServer,
) -> None:
    async with desk(own_broker) as one:
        await one.note("first")
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            for n in range(MAX_WAITING):
                one.log.check_room()
                one.log.note(AuditNote(action="job.submit", object=str(n)))
            with pytest.raises(BrokerUnavailable, match="1000 entries of the audit log wait"):
                one.log.check_room()
            # What was under way is noted still, up to a bound; beyond it is counted.
            for n in range(2 * MAX_WAITING):
                one.log.note(AuditNote(action="job.cancel", object=str(n)))
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        await eventually(lambda: _has_room(one.log), 30, what="room")
        entries = await eventually(lambda: _at_least(one, 2 * MAX_WAITING + 2), 30)
        assert [e.object for e in entries[: MAX_WAITING + 1]] == ["first", *map(str, range(MAX_WAITING))]
        [left_out] = [e for e in entries if e.action == "audit.left_out"]
        assert (left_out.times, left_out.result) == (MAX_WAITING, "failed")
        assert (await one.log.verify()).holds


def _has_room(log: AuditLog) -> bool:
    try:
        log.check_room()
    except BrokerError:
        return False
    return True


async def _at_least(desk: Desk, count: int) -> list[AuditEntry] | None:
    entries = await desk.entries()
    return entries if len(entries) >= count else None


async def test_a_full_log_says_so_and_goes_on_when_there_is_room(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker) as one:
        await _bound(one.jet, 3_000)
        for n in range(MAX_WAITING):
            one.log.note(AuditNote(action="job.submit", object=str(n)))

        def words() -> str:
            try:
                one.log.check_room()
            except StreamFull as e:
                return str(e)
            except BrokerUnavailable:
                pass
            else:
                # A few fitted: as many more.
                one.log.note(AuditNote(action="job.submit", object="more"))
            return ""

        assert "raise its max_bytes" in await eventually(words)
        await _bound(one.jet, AUDIT.max_bytes)
        await eventually(lambda: _at_least(one, MAX_WAITING), 20)
        assert (await one.log.verify()).holds


async def _bound(jet: Jet, max_bytes: int) -> None:
    config = (await jet.api(f"STREAM.INFO.{AUDIT.name}"))["config"]
    await jet.api(f"STREAM.UPDATE.{AUDIT.name}", config | {"max_bytes": max_bytes})


async def test_nothing_can_be_taken_out(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker) as one:
        await one.note("a", "b")
        with pytest.raises(BrokerError):
            await one.jet.api(f"STREAM.MSG.DELETE.{AUDIT.name}", {"seq": 1})
        with pytest.raises(BrokerError):
            await one.jet.api(f"STREAM.PURGE.{AUDIT.name}", {})
        assert [e.object for e in await one.entries()] == ["a", "b"]


async def test_what_somebody_else_puts_into_the_stream_is_found_and_the_log_goes_on(
    own_broker: EmbeddedServer,
) -> None:
    async with desk(own_broker) as one:
        await one.note("a", "b")
        forged = json.loads((await one.lines())[-1]) | {"actor": "mia", "number": 3}
        forged["hash"] = hash_of(forged)
        await one.jet.publish(AUDIT_ENTRY, canonical(forged))
        await one.note("c")
        await one.jet.publish(AUDIT_ENTRY, b"not an entry\n at all")
        await one.jet.publish("audit.other", (await one.lines())[0])
        await one.note("d")
        report = await one.log.verify()
        assert not report.holds
        assert [(b.number, b.what.split(":")[0]) for b in report.breaks] == [
            (3, "does not follow the one before"),
            (5, "is no entry"),
            (6, "is no entry"),
        ]
        # It is shown, as what it is.
        page = await one.log.page(before=None, limit=10, only=EVERYTHING)
        shown = [(e.number, e.action, e.object) for e in page.items]
        assert shown[:3] == [(7, "job.submit", "d"), (6, "job.submit", "a"), (5, "unreadable", "")]
        assert len(await one.lines()) == report.entries == 7


async def test_pages_go_back_to_the_first_entry(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker) as one:
        assert (await one.log.page(before=None, limit=3, only=EVERYTHING)).items == []
        await one.note(*map(str, range(10)))
        await one.note(*map(str, range(10)), action="job.cancel")
        seen: list[int] = []
        before: int | None = None
        while True:
            page = await one.log.page(before=before, limit=7, only=EVERYTHING)
            seen += [e.number for e in page.items]
            if page.next is None:
                break
            before = int(page.next)
        assert seen == list(range(20, 0, -1))
        cancels = await one.log.page(before=None, limit=4, only=AuditFilter(action="job.cancel"))
        assert [e.object for e in cancels.items] == ["9", "8", "7", "6"]
        assert cancels.next == "17"
        all_of_jobs = await one.log.page(before=None, limit=500, only=AuditFilter(action="job"))
        assert (len(all_of_jobs.items), all_of_jobs.next) == (20, None)
        one_object = await one.log.page(before=None, limit=500, only=AuditFilter(object="3"))
        assert [e.number for e in one_object.items] == [14, 4]
        later = await one.log.page(before=None, limit=500, only=AuditFilter(since=time.time() + 3600))
        assert (later.items, later.next) == ([], None)


async def test_a_tail_waits_for_what_another_notes(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker, "one") as one, desk(own_broker, "two") as two:
        await one.note("old")
        start = await two.log.tail(after=None, limit=10, only=EVERYTHING, wait=0)
        assert (start.items, start.last) == ([], 1)
        following = asyncio.create_task(
            two.log.tail(after=start.last, limit=10, only=AuditFilter(action="job.cancel"), wait=10)
        )
        for _ in range(5):
            # By then it has looked, and waits.
            await two.jet.last_seq(AUDIT.name)
        assert not following.done()
        await one.note("passed over")
        await one.note("wanted", action="job.cancel")
        began = time.monotonic()
        tail = await following
        assert time.monotonic() - began < 1
        assert ([e.object for e in tail.items], tail.last) == (["wanted"], 3)
        nothing = await two.log.tail(after=3, limit=10, only=EVERYTHING, wait=0.2)
        assert (nothing.items, nothing.last) == ([], 3)


async def test_refusals_in_great_number_are_one_entry_at_the_end(own_broker: EmbeddedServer) -> None:
    async with desk(own_broker) as one:
        await asyncio.gather(
            *(one.log.note(AuditNote(action="login", result="refused", address="x")) for _ in range(500))
        )
        assert len(await one.entries()) == EACH
        one.task.cancel()
        await asyncio.wait([one.task])
        entries = await one.entries()
        assert [e.times for e in entries] == [1] * EACH + [500 - EACH]
