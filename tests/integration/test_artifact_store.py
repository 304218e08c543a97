"""Artifacts on their way from a runner into the store: within the job's bounds, and never at the cost of a
session."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec, connection
from broker_config.artifacts import ArtifactInfo
from broker_config.artifacts import Artifacts as Wanted
from broker_config.duration import Duration
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import ArtifactNotFound
from broker_config.job_spec import read_spec
from broker_config.messages import (
    ArtifactReply,
    ArtifactRequest,
    Dispatch,
    ErrorInfo,
    SessionRecord,
)
from broker_config.seal import Seal
from broker_config.subjects import RUNNER_ARTIFACT
from orchestrator.bus.artifact_desk import ArtifactDesk
from orchestrator.bus.artifacts import Artifacts
from orchestrator.bus.jet import Jet
from orchestrator.bus.job_store import JobStore
from orchestrator.bus.quarantine import Quarantine
from runner.core.outcome import Artifact
from runner.service import Runner
from runner.settings import RunnerConfig
from runner.work.artifact_store import ArtifactStore
from runner.work.link import linked
from tests.support.front_desk import FrontDesk, front_desk
from tests.support.leaving_executor import LeavingExecutor
from tests.support.waiting import eventually

PICTURE = b"\xff\xd8\xff" + b"p" * 2_000
WANTED = Wanted(keep=["screenshot", "har", "trace"], when="always")
#: What keeps the files of an unusual size apart from each other.
LARGE = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(50_000))


@pytest.fixture
async def desk(own_broker: EmbeddedServer) -> AsyncIterator[FrontDesk]:
    async with front_desk(own_broker.url, lease=3.0) as desk:
        yield desk


@asynccontextmanager
async def running(
    desk: FrontDesk, executor: LeavingExecutor, tmp_path: Path, name: str = "r1", **config: Any
) -> AsyncIterator[Runner]:
    """A runner in this process; drained at the end."""
    url = desk.nc.connected_url
    assert url is not None
    settings = {"slots": 2, "saturation_busy": 2.0, "grace_s": 5.0, **config}
    runner = Runner(
        RunnerConfig(data_dir=tmp_path / name, nats=url.geturl(), name=name, **settings), executor
    )
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


def job_store(nc: Client, id: str = "job1") -> JobStore:
    return JobStore(Jet(nc), seal=Seal(bytes(32)), clock=time.time, new_id=lambda: id, new_seed=lambda: 7)


@asynccontextmanager
async def desks(broker: EmbeddedServer, count: int = 1, **artifacts: Any) -> AsyncIterator[Artifacts]:
    """So many orchestrators' desks, and a stored job `job1`; its artifacts."""
    spec = {"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 50, "artifacts": artifacts}
    async with asyncio.TaskGroup() as group, connection.connected(broker.url, name="reader") as nc:
        store = job_store(nc)
        await store.submit(read_spec(spec), source="api", idempotency_key=None)
        tasks = [group.create_task(_desk(broker)) for _ in range(count)]
        await eventually(lambda: _answered(nc), what="a desk that answers")
        yield Artifacts(Jet(nc), store.get)
        for task in tasks:
            task.cancel()


async def _desk(broker: EmbeddedServer) -> None:
    async with connection.connected(broker.url, name="desk") as nc:
        jet = Jet(nc)
        await ArtifactDesk(jet, job_store(nc), Quarantine(jet, "desk", clock=time.time)).run()


async def _answered(nc: Client) -> bool:
    try:
        await nc.request(RUNNER_ARTIFACT, codec.encode(ArtifactRequest(job="job1", runner="r", items=[])))
    except Exception:
        return False
    return True


async def content(artifacts: Artifacts, name: str) -> bytes:
    _, chunks = await artifacts.get(name)
    return b"".join([chunk async for chunk in chunks])


def left_out(records: list[SessionRecord]) -> int:
    return sum(r.artifacts_left_out for r in records)


async def test_what_a_session_leaves_behind_is_stored_and_named_in_its_record(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    stub = LeavingExecutor(
        tmp_path / "left", ("failure.jpg", "screenshot", PICTURE), ("trace.zip", "trace", LARGE)
    )
    async with desks(own_broker, keep=["screenshot"]) as artifacts:
        async with running(desk, stub, tmp_path):
            await desk.dispatch(2, artifacts=WANTED)
            records = {r.session: r for r in await desk.all_done(2)}
        names = [a.name for a in records[2].artifacts]
        assert names == ["job1/2.1/failure.jpg", "job1/2.1/trace.zip"]
        assert [(a.kind, a.bytes) for a in records[2].artifacts] == [
            ("screenshot", len(PICTURE)),
            ("trace", len(LARGE)),
        ]
        assert left_out(list(records.values())) == 0
        assert stub.on_disk() == []
        assert await content(artifacts, names[0]) == PICTURE
        assert await content(artifacts, names[1]) == LARGE
        page = await artifacts.page("job1", cursor=None, limit=3)
        assert [(a.session, a.file, a.kind, a.bytes) for a in page.items] == [
            (1, "failure.jpg", "screenshot", len(PICTURE)),
            (1, "trace.zip", "trace", len(LARGE)),
            (2, "failure.jpg", "screenshot", len(PICTURE)),
        ]
        rest = await artifacts.page("job1", cursor=page.next, limit=3)
        assert [a.name for a in rest.items] == [names[1]]
        assert rest.next is None
        one = await artifacts.page("job1", cursor=None, limit=10, session=1)
        assert {a.session for a in one.items} == {1}
        expires = page.items[0].expires_at
        assert expires is not None
        assert abs(expires - time.time() - 7 * 86_400) < 60
        with pytest.raises(ArtifactNotFound):
            await artifacts.get("job1/3.1/failure.jpg")
    # Any client of NATS reads them.
    store = await desk.js.object_store("artifacts")
    assert (await store.get(names[1])).data == LARGE


async def test_an_attempt_that_is_made_again_stores_nothing(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    crash = ErrorInfo(kind="egress_failed", infrastructure=True)
    stub = LeavingExecutor(
        tmp_path / "left",
        ("failure.jpg", "screenshot", PICTURE),
        play=lambda d: crash if d.attempt == 1 else None,
    )
    async with desks(own_broker, keep=["screenshot"]) as artifacts:
        async with running(desk, stub, tmp_path):
            await desk.dispatch(1, artifacts=WANTED, retries=1)
            (record,) = await desk.all_done(1)
        assert [a.name for a in record.artifacts] == ["job1/1.2/failure.jpg"]
        page = await artifacts.page("job1", cursor=None, limit=10)
        assert [a.name for a in page.items] == ["job1/1.2/failure.jpg"]
    assert stub.on_disk() == []


@pytest.mark.parametrize("bound", [{"max_count": 5}, {"max_bytes": 5 * len(PICTURE) + 100}])
async def test_the_bounds_of_a_job_hold_over_all_runners_and_orchestrators(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path, bound: dict[str, int]
) -> None:
    stubs = [
        LeavingExecutor(
            tmp_path / name,
            ("a.jpg", "screenshot", PICTURE),
            ("b.har", "har", b"x" * len(PICTURE)),
            seconds=0.1,
        )
        for name in ("one", "two")
    ]
    async with (
        desks(own_broker, 2, keep=["screenshot"], **bound) as artifacts,
        running(desk, stubs[0], tmp_path, "r1", slots=1),
        running(desk, stubs[1], tmp_path, "r2", slots=1),
    ):
        await desk.dispatch(8, artifacts=WANTED)
        records = await desk.all_done(8)
        page = await artifacts.page("job1", cursor=None, limit=100)
    assert len(page.items) == 5
    assert sorted(a.name for a in page.items) == sorted(a.name for r in records for a in r.artifacts)
    assert left_out(records) == 16 - 5
    assert {r.runner for r in records} == {"r1", "r2"}
    assert [p for stub in stubs for p in stub.on_disk()] == []


async def test_requests_at_the_same_moment_are_counted_one_by_one(
    desk: FrontDesk, own_broker: EmbeddedServer
) -> None:
    def request(n: int) -> bytes:
        items = [ArtifactInfo(name=f"job1/{n}.1/{file}", kind="har", bytes=10) for file in ("a", "b")]
        return codec.encode(ArtifactRequest(job="job1", runner="r", items=items))

    async with desks(own_broker, 3, keep=["har"], max_count=21) as artifacts:
        answers = await asyncio.gather(*(desk.nc.request(RUNNER_ARTIFACT, request(n)) for n in range(60)))
        replies = [codec.decode(a.data, ArtifactReply) for a in answers]
        assert sum(len(r.granted) for r in replies) == 21
        assert {len(r.granted) for r in replies} == {0, 1, 2}
        assert all(len(r.granted) == 2 or "at most 21" in r.reason for r in replies)
        assert (await artifacts.page("job1", cursor=None, limit=10)).items == []


async def test_the_sending_is_bounded_in_time(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async def grant(msg: Msg) -> None:
        request = codec.decode(msg.data, ArtifactRequest)
        await msg.respond(codec.encode(ArtifactReply(granted=[i.name for i in request.items])))

    async def silent(msg: Msg) -> None:
        pass

    await desk.nc.subscribe(RUNNER_ARTIFACT, cb=grant)
    await desk.js.delete_stream("OBJ_artifacts")
    await desk.nc.subscribe("$O.artifacts.>", cb=silent)
    await desk.nc.flush()
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    artifact = Artifact(name="a.jpg", kind="screenshot", path=tmp_path / "a.jpg")
    dispatch = Dispatch(job="job1", session=1, platform="p", target="t", url="u", artifacts=WANTED)
    async with linked(own_broker.url, name="store") as link:
        store = ArtifactStore(link, "r1", new_id=lambda: "id1", wall=time.time, limit=0.4)
        stored: list[ArtifactInfo] = []
        began = time.monotonic()
        reason = await store.keep(dispatch, [artifact], stored)
        assert 0.35 < time.monotonic() - began < 1.5
    assert (stored, reason) == ([], "they could not be sent within 0.4 s")


async def test_a_full_store_leaves_out_what_is_new_and_nothing_else(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    info = json.loads((await desk.nc.request("$JS.API.STREAM.INFO.OBJ_artifacts")).data)
    config = {**info["config"], "max_bytes": 40_000}
    await desk.nc.request("$JS.API.STREAM.UPDATE.OBJ_artifacts", json.dumps(config).encode())
    stub = LeavingExecutor(
        tmp_path / "left", ("a.jpg", "screenshot", PICTURE), ("b.har", "har", b"h" * 100_000)
    )
    async with desks(own_broker, keep=["screenshot"]) as artifacts:
        async with running(desk, stub, tmp_path):
            await desk.dispatch(3, artifacts=WANTED)
            records = await desk.all_done(3)
        assert [[a.name.rpartition("/")[2] for a in r.artifacts] for r in records] == [["a.jpg"]] * 3
        assert left_out(records) == 3
        assert await content(artifacts, "job1/1.1/a.jpg") == PICTURE
    said = [log.text for log in desk.logs if "left out" in log.text]
    assert len(said) == 3
    assert "maximum bytes exceeded" in said[0]
    assert stub.on_disk() == []


async def test_without_an_answer_the_session_is_reported_all_the_same(
    desk: FrontDesk, tmp_path: Path
) -> None:
    """Nobody listens: at once. Somebody does not answer: after two seconds."""
    stub = LeavingExecutor(tmp_path / "left", ("a.jpg", "screenshot", PICTURE))
    async with running(desk, stub, tmp_path):
        began = time.monotonic()
        await desk.dispatch(1, artifacts=WANTED)
        await desk.all_done(1)
        assert time.monotonic() - began < 1.5

        async def silent(msg: Msg) -> None:
            pass

        await desk.nc.subscribe(RUNNER_ARTIFACT, cb=silent)
        await desk.nc.flush()
        began = time.monotonic()
        await desk.dispatch(1, first=2, artifacts=WANTED)
        records = await desk.all_done(2)
        assert 1.9 < time.monotonic() - began < 4
    assert [(r.status, r.artifacts, r.artifacts_left_out) for r in records] == [("failed", [], 1)] * 2
    assert stub.on_disk() == []


async def test_a_cancel_ends_the_sending_and_not_the_report(desk: FrontDesk, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(msg: Msg) -> None:
        asked.set()

    await desk.nc.subscribe(RUNNER_ARTIFACT, cb=silent)
    stub = LeavingExecutor(tmp_path / "left", ("a.jpg", "screenshot", PICTURE))
    async with running(desk, stub, tmp_path) as runner:
        await desk.dispatch(1, artifacts=WANTED)
        await asked.wait()
        assert [r.dispatch.session for r in runner.running] == [1]
        began = time.monotonic()
        await desk.cancel()
        (record,) = await desk.all_done(1)
        assert time.monotonic() - began < 1.5
    # It had ended before.
    assert (record.status, record.artifacts_left_out) == ("failed", 1)
    assert stub.on_disk() == []


async def test_a_runner_that_is_killed_while_it_sends_reports_the_session(
    desk: FrontDesk, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    async def silent(msg: Msg) -> None:
        asked.set()

    await desk.nc.subscribe(RUNNER_ARTIFACT, cb=silent)
    stub = LeavingExecutor(tmp_path / "left", ("a.jpg", "screenshot", PICTURE))
    async with running(desk, stub, tmp_path) as runner:
        await desk.dispatch(1, artifacts=WANTED)
        await asked.wait()
        runner.kill()
        (record,) = await desk.all_done(1)
    assert (record.status, record.attempt) == ("failed", 1)
    assert stub.on_disk() == []


async def test_a_broker_that_dies_in_the_middle_costs_the_artifact_alone(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    async def grant_and_die(msg: Msg) -> None:
        request = codec.decode(msg.data, ArtifactRequest)
        await msg.respond(codec.encode(ArtifactReply(granted=[i.name for i in request.items])))
        await desk.nc.flush()
        os.kill(own_broker.pid, signal.SIGKILL)

    await desk.nc.subscribe(RUNNER_ARTIFACT, cb=grant_and_die)
    # So much that it cannot be there before the broker is gone.
    stub = LeavingExecutor(tmp_path / "left", ("t.zip", "trace", LARGE * 8))
    async with running(desk, stub, tmp_path) as runner:
        await desk.dispatch(1, artifacts=WANTED)
        await eventually(lambda: own_broker.restarts == 1 and desk.nc.is_connected, what="the broker back")
        records = await desk.all_done(1, within=20)
        assert not runner.outbox.full
    assert [(r.status, r.attempt, r.artifacts, r.artifacts_left_out) for r in records] == [
        ("failed", 1, [], 1)
    ]
    assert stub.on_disk() == []


async def test_artifacts_go_when_the_time_of_their_job_is_over(
    desk: FrontDesk, own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    stub = LeavingExecutor(tmp_path / "left", ("a.jpg", "screenshot", PICTURE))
    wanted = Wanted(keep=["screenshot"], when="always", ttl=Duration(1))
    async with desks(own_broker, keep=["screenshot"]) as artifacts, running(desk, stub, tmp_path):
        await desk.dispatch(1, artifacts=wanted)
        await desk.all_done(1)

        async def gone() -> bool:
            return int((await desk.js.stream_info("OBJ_artifacts")).state.messages) == 0

        await eventually(gone, 5, what="an empty store")
        assert (await artifacts.page("job1", cursor=None, limit=10)).items == []
        with pytest.raises(ArtifactNotFound, match="its time is over"):
            await artifacts.get("job1/1.1/a.jpg")


@pytest.mark.parametrize(
    "request_",
    [
        {"job": "job1", "runner": "r", "items": [{"name": "job2/1.1/a.jpg", "kind": "screenshot"}]},
        {"job": "job1", "runner": "r", "items": [{"name": "../../etc", "kind": "screenshot"}]},
        {"job": "a.b", "runner": "r", "items": []},
        {"job": "job1", "runner": "r", "items": [{"name": "job1/1.1/a.jpg", "kind": "har", "bytes": -5}]},
    ],
)
async def test_what_nobody_may_ask_for_is_refused_in_words(
    desk: FrontDesk, own_broker: EmbeddedServer, request_: dict[str, Any]
) -> None:
    async with desks(own_broker, keep=["screenshot"]):
        answer = await desk.nc.request(RUNNER_ARTIFACT, json.dumps(request_).encode())
        reply = codec.decode(answer.data, ArtifactReply)
    assert reply.granted == []
    assert "ArtifactRequest" in reply.reason


async def test_a_job_that_is_not_there_gets_no_room(desk: FrontDesk, own_broker: EmbeddedServer) -> None:
    request = {"job": "job9", "runner": "r", "items": [{"name": "job9/1.1/a.jpg", "kind": "screenshot"}]}
    async with desks(own_broker, keep=["screenshot"]):
        answer = await desk.nc.request(RUNNER_ARTIFACT, json.dumps(request).encode())
    reply = codec.decode(answer.data, ArtifactReply)
    assert (reply.granted, "no job job9" in reply.reason) == ([], True)
