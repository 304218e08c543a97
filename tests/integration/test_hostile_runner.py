"""A runner that has joined rightly and does wrong: its own program against a real broker in operator mode.

What it tries is refused by the broker or without effect, stands in a log, and a job beside it is counted
exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import nats.errors
import pytest

from broker_config import codec
from broker_config.artifacts import ArtifactInfo
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import (
    ArtifactReply,
    ArtifactRequest,
    Heartbeat,
    PlatformOffer,
    RegisterReply,
    RegisterRequest,
    SessionRecord,
)
from broker_config.object_store import ObjectMeta, chunk_subject, meta_subject
from broker_config.operator_mode import _FROM_RUNNERS, JS_PREFIX, RUNNER_PAYLOAD, RUNNER_SUBSCRIPTIONS
from broker_config.streams import BUCKETS, STREAMS
from broker_config.subjects import job_log, runner_control, runner_heartbeat, session_record
from orchestrator.bus.auditor import Auditor
from orchestrator.bus.jet import Jet
from tests.support.secure_scene import HostileRunner, SecureScene, honest_runner, hostile_runner, secure_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

PLATFORM = "linux-chromium"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureScene]:
    async with secure_scene(tmp_path_factory.mktemp("hostile")) as scene:
        yield scene


@pytest.fixture(scope="module")
async def eve(scene: SecureScene) -> AsyncIterator[HostileRunner]:
    """Of the pool `outer`, on one platform."""
    credential = await scene.credential("eve", pool="outer", platforms=[PLATFORM])
    async with hostile_runner(scene, credential) as eve:
        yield eve


def broker_log(scene: SecureScene) -> str:
    assert isinstance(scene.broker, EmbeddedServer)
    return scene.broker.log_file.read_text()


async def messages(scene: SecureScene, stream: str) -> int:
    async with scene.orchestrator_login() as nc:
        return int((await Jet(nc).api(f"STREAM.INFO.{stream}"))["state"]["messages"])


def registration(runner: str, **more: object) -> bytes:
    fields = {"pool": "outer", "platforms": [PlatformOffer(platform=PLATFORM)], "slots": 1, **more}
    return codec.encode(RegisterRequest(runner=runner, instance="x", **fields))  # type: ignore[arg-type]


def heartbeat(runner: str, **more: object) -> bytes:
    fields = {"platforms": [PlatformOffer(platform=PLATFORM)], "slots": 1, "pool": "outer", **more}
    beat = Heartbeat(
        runner=runner,
        instance="x",
        at=time.time(),
        state="online",
        busy=0,
        **fields,  # type: ignore[arg-type]
    )
    return codec.encode(beat)


@pytest.mark.parametrize(
    "subject",
    [
        session_record("j1", "other"),
        session_record("j1", "conductor"),
        "job.progress.j1",
        job_log("j1", "other"),
        runner_heartbeat("other"),
        runner_control("other"),
        runner_control("eve"),
        "runner.register",
        "runner.register.other",
        "runner.artifact",
        "runner.artifact.other",
        "runner.secret",
        "runner.secret.other",
        "runner.renew.other",
        "job.control.j1",
        "job.control.all",
        "job.dispatch.linux-chromium",
        "job.dispatch.linux-chromium.outer",
        "quarantine.dispatch",
        "quarantine.dispatch.other",
        "quarantine.record.eve",
        "audit.entry",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.somebody.x",
        "_INBOX_other.x.y",
        "_R_.x.y",
        f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.{PLATFORM}",
        f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.{PLATFORM}_inner",
        f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.{PLATFORM}_outer_scripts",
        f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.linux-firefox_outer",
        f"$JS.API.CONSUMER.MSG.NEXT.DISPATCH.{PLATFORM}_outer",
        f"$JS.ACK.DISPATCH.{PLATFORM}.1.1.1.1795544558602289662.0",
        f"$JS.ACK.DISPATCH.{PLATFORM}_inner.1.1.1.1795544558602289662.0",
        "$JS.ACK.PROGRESS.x.1.1.1.1.0",
        meta_subject("artifacts", "j1/1.1/screenshot.png"),
        "$O.other.C.x",
    ],
)
async def test_it_cannot_publish_what_is_not_its_own(eve: HostileRunner, subject: str) -> None:
    assert await eve.refuses_publish(subject)
    assert not eve.nc.is_closed


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda b: b.name)
async def test_it_can_neither_read_nor_write_a_bucket(eve: HostileRunner, bucket: object) -> None:
    name = bucket.name  # type: ignore[attr-defined]
    assert await eve.refuses_publish(f"$KV.{name}.key")
    for prefix in ("$JS.API", JS_PREFIX):
        assert await eve.refuses_publish(f"{prefix}.DIRECT.GET.KV_{name}.$KV.{name}.key")
        assert await eve.refuses_publish(f"{prefix}.STREAM.MSG.GET.KV_{name}")


@pytest.mark.parametrize("stream", [*(s.name for s in STREAMS), "OBJ_artifacts", "KV_people"])
async def test_it_can_do_nothing_to_a_stream(eve: HostileRunner, stream: str) -> None:
    for prefix in ("$JS.API", JS_PREFIX):
        for call in ("CREATE", "UPDATE", "PURGE", "DELETE", "INFO", "MSG.DELETE", "MSG.GET", "SNAPSHOT"):
            assert await eve.refuses_publish(f"{prefix}.STREAM.{call}.{stream}")
        for call in ("CREATE", "DURABLE.CREATE", "DELETE", "INFO", "PAUSE", "NAMES"):
            assert await eve.refuses_publish(f"{prefix}.CONSUMER.{call}.{stream}.x")


@pytest.mark.parametrize(
    "subject",
    [
        ">",
        "*",
        "*.*",
        "_INBOX.>",
        "_INBOX_other.>",
        "_R_.>",
        "runner.>",
        "runner.control.*",
        "runner.control.other",
        "runner.heartbeat.*",
        "runner.register.*",
        "runner.secret.*",
        "job.>",
        "job.progress.*",
        "job.progress.*.*",
        "job.log.*.*",
        "job.dispatch.>",
        "$JS.>",
        "$KV.>",
        "$O.>",
        "$SYS.>",
    ],
)
async def test_it_cannot_listen_to_others(eve: HostileRunner, subject: str) -> None:
    assert await eve.refuses_subscribe(subject)
    assert await eve.refuses_subscribe(subject, queue="orchestrators")


async def test_what_is_refused_stands_in_the_brokers_log(scene: SecureScene, eve: HostileRunner) -> None:
    assert await eve.refuses_publish("job.progress.logged.other")
    text = await eventually(
        lambda: [line for line in broker_log(scene).splitlines() if "job.progress.logged.other" in line]
    )
    assert eve.credential.key in text[0] or "eve" in text[0]


async def test_it_cannot_pass_for_more_than_its_credential_says(
    scene: SecureScene, eve: HostileRunner, caplog: pytest.LogCaptureFixture
) -> None:
    for more, why in (
        ({"pool": None}, "for the pool outer, not for no pool"),
        ({"pool": "inner"}, "for the pool outer, not for the pool inner"),
        ({"platforms": [PlatformOffer(platform="windows-chrome")]}, "not for windows-chrome"),
        ({"scripts": True}, "not for scripts"),
    ):
        said = codec.decode(await eve.ask("runner.register.eve", registration("eve", **more)), RegisterReply)
        assert said.settings is None
        assert said.refusal is not None
        assert said.refusal.code == "unknown_token"
        assert why in said.refusal.detail
        await eve.nc.publish(runner_heartbeat("eve"), heartbeat("eve", **more))
    said = codec.decode(await eve.ask("runner.register.eve", registration("other")), RegisterReply)
    assert said.refusal is not None
    assert "a registration of runner other came on runner.register.eve" in said.refusal.detail
    await eventually(lambda: caplog.text.count("a message on runner.heartbeat.eve could not be used") == 4)
    assert scene.orchestrator.fleet.runner("eve") is None
    assert scene.orchestrator.fleet.platforms() == []


async def test_a_forged_subject_for_the_answer_makes_nobody_write(
    scene: SecureScene, eve: HostileRunner
) -> None:
    """The broker gives every question from its account an answer's subject of its own."""
    before = {name: await messages(scene, name) for name in ("PROGRESS", "KV_people", "KV_jobs", "DISPATCH")}
    heard: list[str] = []
    own = [session_record("j1", "eve"), "runner.register.eve", "runner.artifact.eve", "runner.renew.eve"]
    own += ["runner.secret.eve", runner_heartbeat("eve"), chunk_subject("artifacts", "forged")]
    own += [f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.{PLATFORM}_outer"]
    forged = [session_record("j1", "other"), "job.progress.j1", "job.control.j1", "$KV.people.user.eve"]
    forged += ["$KV.jobs.j1", "$JS.API.STREAM.DELETE.PROGRESS", "job.dispatch.linux-chromium"]
    forged += ["audit.entry", "runner.heartbeat.other"]
    async with scene.orchestrator_login() as nc:

        async def hear(msg: object) -> None:
            heard.append(msg.subject)  # type: ignore[attr-defined]

        for subject in forged:
            await nc.subscribe(subject, cb=hear)
        await nc.flush()
        await nc.flush()
        for subject in own:
            for reply in forged:
                await eve.nc.publish(subject, registration("eve"), reply=reply)
        acked = f"$JS.ACK.DISPATCH.{PLATFORM}_inner.1.1.1.1.0"
        assert not await eve.refuses_publish(runner_heartbeat("eve"), b"", reply=acked)
        assert "reply" in eve.refused[-1]
        # Each of these was answered, after all that was asked before it. Who asks too often gets no answer.
        await eventually(lambda: eve.answered("runner.register.eve", registration("eve")), 10)
        await eve.ask(session_record("j1", "eve"))
        await nc.flush()
        await nc.flush()
    # The records under its own name are all that is there, and count for no job.
    assert await messages(scene, "PROGRESS") == before["PROGRESS"] + len(forged) + 1
    for name in ("KV_people", "KV_jobs", "DISPATCH"):
        assert await messages(scene, name) == before[name]
    assert heard == []


async def test_it_can_neither_empty_the_store_of_artifacts_nor_take_anothers_place(
    scene: SecureScene, eve: HostileRunner
) -> None:
    job = await scene.submit(1, pool="outer")
    others = await scene.submit(1, pool="inner")
    for header in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}):
        answer = json.loads(await eve.ask(chunk_subject("artifacts", "n1"), b"x", headers=header))
        assert "error" in answer
    answer = json.loads(await eve.ask(chunk_subject("artifacts", "n1"), b"y" * (128 << 10)))
    assert answer["stream"] == "OBJ_artifacts"

    async def name(nuid: str, of: str = job.id, **more: object) -> ArtifactReply:
        meta = ObjectMeta(
            name=f"{of}/1.1/screenshot.jpg",
            bucket="artifacts",
            nuid=nuid,
            size=1,
            chunks=1,
            mtime="2026-11-24T12:00:00+00:00",
            **more,  # type: ignore[arg-type]
        )
        request = ArtifactRequest(job=of, runner="eve", stored=meta)
        return codec.decode(await eve.ask("runner.artifact.eve", codec.encode(request)), ArtifactReply)

    assert (await name("n1")).granted
    for again in (await name("n2"), await name("n1", deleted=True, digest="x")):
        assert not again.granted
        assert "is there already" in again.reason
    # Nor has it a say in jobs of other pools: neither a place in them, nor their room.
    asked = ArtifactRequest(
        job=others.id, runner="eve", items=[ArtifactInfo(name=f"{others.id}/1.1/x.jpg", kind="x", bytes=1)]
    )
    answer = await eve.ask("runner.artifact.eve", codec.encode(asked))
    for said in (await name("n1", others.id), codec.decode(answer, ArtifactReply)):
        assert not said.granted
        assert "for the pool outer, not for the pool inner" in said.reason
    other = ArtifactRequest(job=job.id, runner="other", items=[])
    said = codec.decode(await eve.ask("runner.artifact.eve", codec.encode(other)), ArtifactReply)
    assert "a question of runner other came on runner.artifact.eve" in said.reason
    for id in (job.id, others.id):
        await scene.orchestrator.store.command(id, "cancel")


async def test_too_much_at_once_is_refused(scene: SecureScene) -> None:
    credential = await scene.credential("greedy", pool="outer")
    async with hostile_runner(scene, credential) as greedy:
        for n in range(RUNNER_SUBSCRIPTIONS + 10):
            await greedy.nc.subscribe(f"_INBOX_greedy.{n}")
        await eventually(lambda: greedy.nc.is_closed, what="the connection is cut")
        assert "maximum subscriptions exceeded" in str(greedy.nc.last_error)
    async with hostile_runner(scene, credential) as greedy:
        # The client would keep to what the broker has told it.
        greedy.nc._max_payload = 10 << 20
        await greedy.nc.publish(session_record("j1", "greedy"), b"x" * (RUNNER_PAYLOAD + 1))
        await eventually(lambda: "maximum payload" in str(greedy.nc.last_error).lower(), what="it is refused")
        assert not greedy.nc.is_connected


async def test_what_runners_say_is_heard_on_a_connection_of_its_own(scene: SecureScene) -> None:
    assert isinstance(scene.broker, EmbeddedServer)
    async with httpx.AsyncClient(base_url=scene.broker.monitor_url) as http:
        found = (await http.get("/connz", params={"subs": 1})).json()["connections"]
    name = f"orchestrator {scene.orchestrator.name}"
    heard = {c["name"]: c.get("subscriptions_list", []) for c in found}
    said = {s for s in _FROM_RUNNERS if s.startswith("runner.")}
    assert said <= set(heard[f"{name}, runners"])
    assert not said & set(heard[name])


async def test_a_job_beside_it_is_counted_exactly(
    scene: SecureScene, eve: HostileRunner, tmp_path: Path
) -> None:
    """It floods with all that it may say, meanwhile: heartbeats, records for sessions of others, logs, wrong
    acks, pulls. Then it is cut, within 2 s, while it floods."""
    credential = await scene.credential("honest", pool="inner")
    flooder = await scene.credential("flooder", pool="outer", platforms=[PLATFORM])
    executor = StubExecutor(0.02)
    async with honest_runner(scene, credential, executor, slots=4):
        job = await scene.submit(
            60, pool="inner", load={"executor": "shared-sessions", "vus": 4}, platforms=[PLATFORM]
        )
        async with hostile_runner(scene, flooder) as bad:
            sent = 0

            async def flood() -> None:
                nonlocal sent
                record = SessionRecord(
                    job=job.id, session=1, attempt=1, status="ok", runner="honest", target="x", platform="x"
                )
                forged = codec.encode(record)
                with contextlib.suppress(nats.errors.Error):
                    while True:
                        await bad.nc.publish(session_record(job.id, "honest"), forged)
                        await bad.nc.publish(session_record(job.id, "flooder"), forged)
                        await bad.nc.publish(runner_heartbeat("flooder"), heartbeat("flooder"))
                        await bad.nc.publish(job_log(job.id, "flooder"), b"{}")
                        await bad.nc.publish(
                            f"$JS.ACK.DISPATCH.{PLATFORM}_inner.1.{sent}.{sent}.1.0", b"+ACK"
                        )
                        await bad.nc.publish("runner.register.flooder", b"no json", reply="job.control.all")
                        sent += 6
                        if sent % 300 == 0:
                            await bad.nc.flush(1)

            flooding = asyncio.create_task(flood())
            done = await scene.finished(job.id, 60)
            began = time.monotonic()
            await scene.enrolment.revoke("flooder", "test")
            # Amid a write the client may learn no more than that it is cut, and try to come back for ever.
            await eventually(lambda: not bad.nc.is_connected, 2.0, what="cut")
            assert time.monotonic() - began < 2.0
            flooding.cancel()
            await asyncio.wait({flooding})
    assert sent > 1_000
    counts = done.counts
    assert (counts.planned, counts.ok, counts.failed, counts.lost, counts.superseded) == (60, 60, 0, 0, 0)
    assert len([e for e in executor.events if e[0] == "start"]) == 60
    async with scene.orchestrator_login() as nc:
        report = await Auditor(Jet(nc), scene.orchestrator.store).audit(job.id)
    # It finds what was forged, and counts none of it.
    assert report.counts == counts
    assert {f.kind for f in report.findings if f.is_fault} == {"forged-runner"}
