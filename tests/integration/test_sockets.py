"""`/ws` with a real broker, a real server and real clients."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket as sockets

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from broker_config import codec
from broker_config.api import Fleet, Log, Progress, Snapshot, SocketProblem
from broker_config.connection import connect as connect_broker
from broker_config.connection import connected, leave
from broker_config.errors import BrokerUnavailable
from broker_config.job import Job
from broker_config.messages import Counts, JobLog
from broker_config.subjects import job_log, job_progress
from orchestrator.core.outbox import SlowLimits
from orchestrator.web.app import create_app
from orchestrator.web.sockets import BURST, MAX_JOBS, MAX_MESSAGE, RateGate
from tests.support.raw_socket import RawSocket
from tests.support.waiting import eventually
from tests.support.web_parts import Socket, Stage, progress, socket, stage


def finish(web: Stage, job: str, seq: int) -> None:
    """As the conductor leaves a finished job."""
    spec = web.jobs.jobs[job].spec
    counts = Counts(planned=5, ok=5)
    web.jobs.jobs[job] = Job(
        id=job, spec=spec, state="finished", submitted_at=1.0, verdict="passed", counts=counts
    )
    web.jobs.save(progress(job, seq, "finished", ok=5))


def connections(web: Stage) -> int:
    return len(web.server._server.server_state.connections)  # type: ignore[union-attr]


# --- snapshot, tail, resume --------------------------------------------------------------------------------


async def test_snapshot_then_tail(nc):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        first = await client.receive()
        assert isinstance(first, Snapshot)
        assert (first.job, first.seq, first.recovered, first.progress.state) == (job, 0, None, "running")
        await web.publish(progress(job, 1), progress(job, 2, ok=3))
        one, two = await client.receive(), await client.receive()
        assert isinstance(two, Progress)
        assert (one.seq, two.seq, two.progress.counts.ok) == (1, 2, 3)


async def test_no_gap_when_attached_late(nc):
    """500 messages a second: who comes in the middle gets a snapshot, then only newer ones, to the end."""
    total = 500
    async with stage(nc) as web:
        job = web.jobs.add()
        published = 0

        async def publish() -> None:
            nonlocal published
            for seq in range(1, total + 1):
                last = seq == total
                p = progress(job, seq, "finished" if last else "running", ok=5 if last else 0)
                if seq % 50 == 0 and not last:
                    web.jobs.save(p)
                await nc.publish(job_progress(job), codec.encode(p))
                published = seq
                await asyncio.sleep(1 / 500)

        async def attach(after: int) -> list[int]:
            await eventually(lambda: published >= after, interval=0.001)
            seen: list[int] = []
            async with socket(web) as client:
                await client.subscribe(job)
                while not seen or seen[-1] < total:
                    message = await client.receive()
                    assert isinstance(message, Progress if seen else Snapshot)
                    assert message.seq == message.progress.seq
                    seen.append(message.seq)
            return seen

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            readers = [group.create_task(attach(n)) for n in (0, 100, 101, 250, 400, 480)]
        for reader in readers:
            seen = reader.result()
            assert all(a < b for a, b in itertools.pairwise(seen))
            # A client that keeps up misses nothing after its snapshot and the first message.
            assert seen[1:] == list(range(seen[1], total + 1))


async def test_nothing_falls_between_snapshot_and_tail(nc, broker_url):
    """A state is published by someone else while the gateway reads the snapshot."""
    async with connected(broker_url, name="conductor") as other, stage(nc) as web, socket(web) as client:
        job = web.jobs.add()

        async def meanwhile() -> None:
            web.jobs.meanwhile = None
            await other.publish(job_progress(job), codec.encode(progress(job, 1)))
            await other.flush()

        web.jobs.meanwhile = meanwhile
        await client.subscribe(job)
        first = await client.receive()
        assert isinstance(first, Snapshot)
        if first.seq == 0:
            assert (await client.receive(1)).seq == 1
        else:
            assert first.seq == 1


async def test_a_break_of_the_broker_connection_ends_the_tail(own_broker):
    """What was published meanwhile may be lost: a client that comes back is not told that it was not."""
    broken, whole = asyncio.Event(), asyncio.Event()
    nc = await connect_broker(
        own_broker.url, name="gateway", on_disconnected=broken.set, on_reconnected=whole.set
    )
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        await client.receive()
        await web.publish(progress(job, 1), progress(job, 2))
        assert [(await client.receive()).seq for _ in range(2)] == [1, 2]
        os.kill(own_broker.pid, signal.SIGKILL)
        async with asyncio.timeout(15):
            await broken.wait()
            # Published while nobody can hear it; the checkpoint has it.
            web.jobs.save(progress(job, 3))
            await whole.wait()
        # Looked up by itself, without a message.
        assert (await client.receive()).seq == 3
        await web.publish(progress(job, 4))
        assert (await client.receive()).seq == 4
        await client.subscribe(job, since={job: 1})
        message = await client.receive()
        assert (message.seq, message.recovered) == (4, False)
    await leave(nc)


async def test_malformed_foreign_and_old_progress_is_left_out(nc):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        await client.receive()
        await web.publish(progress(job, 5))
        for data in (b"", b"{", b"[]", codec.encode(progress("other", 6)), codec.encode(progress(job, 4))):
            await nc.publish(job_progress(job), data)
        await web.publish(progress(job, 5), progress(job, 7))
        assert [(await client.receive()).seq for _ in range(2)] == [5, 7]


async def test_resume_where_nothing_was_missed(nc):
    async with stage(nc) as web:
        job = web.jobs.add()
        web.jobs.save(progress(job, 8))
        async with socket(web) as client:
            await client.subscribe(job, since={job: 8})
            message = await client.receive()
            assert (message.seq, message.recovered) == (8, True)


async def test_resume_gets_all_that_was_missed(nc):
    async with stage(nc) as web:
        job = web.jobs.add()
        async with socket(web) as client:
            await client.subscribe(job)
            await client.receive()
            await web.publish(progress(job, 1), progress(job, 2))
            assert [(await client.receive()).seq for _ in range(2)] == [1, 2]
        # Nobody follows the job now; the gateway keeps its tail for a while.
        await eventually(lambda: connections(web) == 0)
        await web.publish(*(progress(job, seq) for seq in (3, 4, 5)))
        async with httpx.AsyncClient() as http:

            async def heard() -> bool:
                return (await http.get(f"{web.api}/jobs/{job}")).json()["progress"]["seq"] == 5

            await eventually(heard)
        async with socket(web) as client:
            await client.subscribe(job, since={job: 2})
            got = [await client.receive() for _ in range(3)]
            assert [m.seq for m in got] == [3, 4, 5]
            assert [type(m) for m in got] == [Snapshot, Progress, Progress]
            assert got[0].recovered is True
            await web.publish(progress(job, 6))
            assert (await client.receive()).seq == 6


async def test_resume_says_when_something_may_be_missing(nc):
    async with stage(nc) as web:
        job = web.jobs.add()
        web.jobs.save(progress(job, 100))
        async with socket(web) as client:
            await client.subscribe(job, since={job: 40})
            message = await client.receive()
            assert (message.seq, message.recovered) == (100, False)
            # Ahead of all that is known here: not vouched for either.
            await client.subscribe(job, since={job: 140})
            assert (await client.receive()).recovered is False


async def test_the_tail_is_bounded(nc):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        await client.receive()
        await web.publish(*(progress(job, seq) for seq in range(1, 201)))
        while (await client.receive()).seq < 200:
            pass
        await client.subscribe(job, since={job: 5})
        message = await client.receive()
        assert (message.seq, message.recovered) == (200, False)
        await client.subscribe(job, since={job: 190})
        got = [await client.receive() for _ in range(10)]
        assert (got[0].recovered, [m.seq for m in got]) == (True, list(range(191, 201)))


async def test_a_finished_job_is_a_snapshot_and_nothing_more(nc):
    async with stage(nc) as web, socket(web) as client:
        job, other = web.jobs.add(), web.jobs.add()
        finish(web, job, 9)
        await client.subscribe(job)
        message = await client.receive()
        assert (message.seq, message.progress.state) == (9, "finished")
        await client.subscribe(other)
        assert (await client.receive()).job == other


async def test_a_lost_last_word_is_found(nc):
    """The job ends while its last message gets lost: the gateway looks the silent job up."""
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        await client.receive()
        await web.publish(progress(job, 1))
        await client.receive()
        finish(web, job, 3)
        message = await client.receive(8)
        assert (message.seq, message.progress.state) == (3, "finished")


async def test_many_jobs_on_one_socket_and_unsubscribing(nc):
    async with stage(nc) as web, socket(web) as client:
        a, b = web.jobs.add(), web.jobs.add()
        await client.subscribe(a, b, a)
        assert [(await client.receive()).job for _ in range(2)] == [a, b]
        await client.connection.send(json.dumps({"type": "unsubscribe", "jobs": [a, "unknown"]}))
        # The answer to what follows shows that the order was carried out.
        await client.subscribe("unknown")
        assert isinstance(await client.receive(), SocketProblem)
        await web.publish(progress(a, 1), progress(b, 1))
        assert (await client.receive()).job == b


async def test_a_thousand_attaches_read_a_job_once(nc):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.subscribe(job)
        await client.receive()
        reads = web.jobs.reads
        for _ in range(20):
            async with socket(web) as other:
                await other.subscribe(job)
                await other.receive()
        assert web.jobs.reads == reads


# --- logs and fleet ----------------------------------------------------------------------------------------


def log(job: str, text: str) -> JobLog:
    return JobLog(job=job, runner="r1", session=1, attempt=1, at=1.0, event="line", text=text)


async def test_logs_only_for_those_who_ask(nc):
    async with stage(nc) as web, socket(web) as curious, socket(web) as other:
        job = web.jobs.add()
        await curious.subscribe(job, logs=True)
        await other.subscribe(job)
        await curious.receive()
        await other.receive()
        await nc.publish(job_log(job, "r1"), codec.encode(log(job, "hello")))
        message = await curious.receive()
        assert isinstance(message, Log)
        assert message.log.text == "hello"
        await web.publish(progress(job, 1))
        assert isinstance(await other.receive(), Progress)
        # Asked again without: no more of them.
        await curious.subscribe(job)
        assert isinstance(await curious.receive(), Progress | Snapshot)


async def test_fleet(nc):
    async with stage(nc) as web, socket(web) as client:
        web.fleet.put("r1")
        await client.subscribe(fleet=True)
        first = await client.receive()
        assert isinstance(first, Fleet)
        assert [r.id for r in first.runners] == ["r1"]
        loop = asyncio.get_running_loop()
        start = loop.time()
        for n in range(20):
            web.fleet.put("r2", busy=n % 4)
        last = await client.receive()
        while last.platforms[0].free != 5:
            web.fleet.put("r2", busy=3)
            last = await client.receive()
        assert last.seq > first.seq
        web.fleet.put("r3")
        await client.receive()
        # At most one a second.
        assert loop.time() - start > 0.9


# --- bad clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"type": "dance"}', '{"type": "subscribe", "jobs": "a"}', "[" * 20_000],
)
async def test_malformed_messages_are_answered_and_the_socket_stays(nc, text):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        await client.connection.send(text)
        message = await client.receive()
        assert isinstance(message, SocketProblem)
        assert "cannot be read" in message.detail
        await client.subscribe(job)
        assert isinstance(await client.receive(), Snapshot)


async def test_unknown_jobs_bad_ids_and_empty_subscriptions(nc):
    async with stage(nc) as web, socket(web) as client:
        for job in ("none", "a.b", ">", "*", "", "x" * 65, "\n"):
            await client.subscribe(job)
            message = await client.receive()
            assert isinstance(message, SocketProblem)
            assert "there is no job" in message.detail
        await client.subscribe()
        assert "neither" in (await client.receive()).detail


async def test_a_broker_that_is_away_is_said_and_tried_again(nc):
    async with stage(nc) as web, socket(web) as client:
        job = web.jobs.add()
        web.jobs.fault = BrokerUnavailable("the broker is away")
        await client.subscribe(job)
        assert (await client.receive()) == SocketProblem(detail="the broker is away", job=job, again=True)
        web.jobs.fault = None
        await client.subscribe(job)
        assert isinstance(await client.receive(), Snapshot)


async def test_subscriptions_are_bounded(nc):
    async with stage(nc) as web, socket(web) as client:
        jobs = [web.jobs.add() for _ in range(MAX_JOBS + 1)]
        await client.subscribe(*jobs)
        got = [await client.receive() for _ in jobs]
        assert [type(m) for m in got] == [Snapshot] * MAX_JOBS + [SocketProblem]
        assert got[-1].job == jobs[-1]
        assert str(MAX_JOBS) in got[-1].detail


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["x" * (MAX_MESSAGE + 1)], 1009),
        ([b"binary"], 1003),
        (["{}"] * (BURST * 3), 1008),
    ],
)
async def test_abuse_is_closed_with_a_reason(nc, messages, code):
    async with stage(nc) as web, socket(web) as client:
        for message in messages:
            try:
                await client.connection.send(message)
            except OSError:
                break
            except Exception:
                if client.connection.close_code is None:
                    raise
                break
        await client.until_closed()
        assert client.connection.close_code == code
        assert client.connection.close_reason


def test_the_rate_gate_takes_a_burst_then_a_rate():
    gate = RateGate(3, 2.0, 100.0)
    assert [gate.passes(100.0) for _ in range(4)] == [True, True, True, False]
    assert gate.passes(100.5)
    assert not gate.passes(100.6)
    assert [gate.passes(1000.0) for _ in range(4)] == [True, True, True, False]


# --- fan-out and slow clients ------------------------------------------------------------------------------


async def test_a_message_is_framed_once_and_byte_for_byte_the_same_for_all(nc, monkeypatch):
    from orchestrator.web import packet

    made = 0
    encode = codec.encode

    def counting(value: object) -> bytes:
        nonlocal made
        made += isinstance(value, Progress)
        return encode(value)

    async with stage(nc) as web:
        job = web.jobs.add()
        raws = [await RawSocket.connect(web.server.port) for _ in range(5)]
        for raw in raws:
            await raw.subscribe(job)
            await raw.read_until(b'"snapshot"')
        monkeypatch.setattr(packet.codec, "encode", counting)
        await web.publish(progress(job, 1, text="to all"))
        got = [await raw.read_until(b"to all") for raw in raws]
        for raw in raws:
            raw.sock.close()
    assert made == 1
    assert len(set(got)) == 1
    # One unmasked, uncompressed text frame of exactly that length.
    assert got[0][0] == 0x81
    assert got[0][1] == 126
    assert int.from_bytes(got[0][2:4], "big") == len(got[0]) - 4


async def test_a_slow_client_gets_the_newest_state_and_the_fast_one_everything(nc):
    total = 400
    async with stage(nc) as web, socket(web) as fast:
        job = web.jobs.add()
        slow = await RawSocket.connect(web.server.port, buffer=8192)
        await slow.subscribe(job, logs=True)
        await slow.read_until(b'"snapshot"')
        await fast.subscribe(job)
        await fast.receive()
        for seq in range(1, total + 1):
            await web.publish(progress(job, seq, text=f"<{seq}>" + "x" * 5_000))
            await nc.publish(job_log(job, "r1"), codec.encode(log(job, "a line")))
            assert (await fast.receive()).seq == seq
        data = await slow.read_until(b"log lines were left out")
        slow.sock.close()
    seen = [seq for seq in range(1, total + 1) if b"<%d>" % seq in data]
    assert seen[-1] == total
    # 64 KiB in the server, and the kernel's buffers: the rest was replaced by newer ones.
    assert 5 < len(seen) < total // 2
    left_out = int(data.split(b" log lines were left out")[0].rsplit(b'"', 1)[1])
    assert left_out + data.count(b"a line") == total


async def test_a_client_that_stops_reading_is_cut_past_its_limit(nc):
    async with stage(nc) as web, socket(web) as fast:
        jobs = [web.jobs.add() for _ in range(60)]
        slow = await RawSocket.connect(web.server.port, buffer=8192)
        await slow.subscribe(*jobs)
        await slow.read_until(jobs[-1].encode())
        await fast.subscribe(*jobs)
        for _ in jobs:
            await fast.receive()
        for seq in (1, 2):
            for job in jobs:
                await web.publish(progress(job, seq, text="x" * 40_000))
                assert (await fast.receive()).seq == seq
        # 60 states of 40 kB each are past 1 MB.
        await eventually(lambda: connections(web) == 1, what="the slow client's connection is gone")
        assert await slow.read_to_end() < 2_000_000
        slow.sock.close()
        await web.publish(progress(jobs[0], 3))
        assert (await fast.receive()).seq == 3


async def test_a_stalled_client_is_cut_after_a_while(nc):
    async with stage(nc, limits=SlowLimits(stall=0.5)) as web:
        job = web.jobs.add()
        slow = await RawSocket.connect(web.server.port, buffer=8192)
        await slow.subscribe(job)
        await slow.read_until(b'"snapshot"')
        for seq in range(1, 61):
            await web.publish(progress(job, seq, text="x" * 20_000))
        await eventually(lambda: connections(web) == 0, what="the stalled client's connection is gone")
        slow.sock.close()


async def test_another_server_works_too(nc):
    """Without our protocol the application sends like any other; slow clients are conflated all the same."""
    async with stage(nc) as web:
        config = uvicorn.Config(
            create_app(web.state), log_config=None, ws="websockets-sansio", ws_per_message_deflate=False
        )
        server = uvicorn.Server(config)
        listener = sockets.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server._serve([listener]))
        try:
            await eventually(lambda: server.started)
            port = listener.getsockname()[1]
            job = web.jobs.add()
            slow = await RawSocket.connect(port, buffer=8192)
            await slow.subscribe(job)
            await slow.read_until(b'"snapshot"')
            async with connect(f"ws://127.0.0.1:{port}/ws") as connection:
                fast = Socket(connection)
                await fast.subscribe(job)
                assert isinstance(await fast.receive(), Snapshot)
                for seq in range(1, 401):
                    await web.publish(progress(job, seq, text=f"<{seq}>" + "x" * 50_000))
                    assert (await fast.receive()).seq == seq
                data = await slow.read_until(b"<400>")
                assert 1 < len([seq for seq in range(1, 401) if b"<%d>" % seq in data]) < 300
                await connection.send(b"binary")
                await fast.until_closed()
                assert connection.close_code == 1003
            slow.sock.close()
        finally:
            server.should_exit = True
            await serving


async def test_what_is_no_text_ends_the_connection_without_a_traceback(nc, caplog):
    async with stage(nc) as web:
        for frame in (b"\x81\x82" + bytes(4) + b"\xff\xfe", b"\x81\x81" + bytes(4) + b"\xc3"):
            raw = await RawSocket.connect(web.server.port)
            await asyncio.get_running_loop().sock_sendall(raw.sock, frame)
            # The close code is 1007.
            assert await raw.read_until((1007).to_bytes(2, "big"))
            raw.sock.close()
    assert not [r for r in caplog.records if r.exc_info or r.levelname == "ERROR"]


async def test_clients_that_vanish_leave_nothing_behind(nc):
    async with stage(nc) as web:
        job = web.jobs.add()
        before = len(nc._subs)
        for _ in range(20):
            raw = await RawSocket.connect(web.server.port)
            await raw.subscribe(job)
            await raw.read_until(b'"snapshot"')
            raw.sock.close()
        await eventually(lambda: connections(web) == 0)
        await web.publish(progress(job, 1))
        assert len(nc._subs) == before + 1
    assert len(nc._subs) == before
