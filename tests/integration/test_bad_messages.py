"""Bad messages on the orchestrator's subjects: counted, quarantined, and nothing else happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import Quarantined, RegisterReply
from broker_config.subjects import RUNNER_REGISTER, runner_heartbeat, session_record
from orchestrator.bus.registrar import Registrar
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.waiting import eventually


async def _quarantined(stage: Backstage, kind: str, count: int) -> list[Quarantined]:
    async def enough() -> list[Quarantined]:
        stored = await stage.jet.read_all("QUARANTINE", f"quarantine.{kind}")
        return [codec.decode(s.data, Quarantined) for s in stored] if len(stored) >= count else []

    return await eventually(enough, 5, what=f"{count} messages in quarantine.{kind}")


def _record(job: str, **changes: object) -> bytes:
    good: dict[str, object] = {
        "job": job,
        "session": 1,
        "attempt": 1,
        "status": "ok",
        "runner": "evil",
        "protocol": 1,
    }
    return json.dumps(good | changes).encode()


async def test_bad_records_never_count_and_never_stop_the_fold(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(20)
        subject = session_record(job.id, "evil")
        bad = [
            b"",
            b"\xff\xfe not json",
            b"[1, 2, 3]",
            b'{"job": "' + job.id.encode() + b'"}',
            _record(job.id, session="seven"),
            _record(job.id, status="splendid"),
            _record(job.id, session=21),
            _record(job.id, session=0),
            _record(job.id, runner="somebody-else"),
            _record("jother", session=3),
            _record(job.id, protocol=99),
            b"{" * 50_000,
            b'{"job": "%s", "session": 1, "attempt": 1, "status": "ok", "runner": "evil", "protocol": 1, '
            b'"measures": {"bytes": %s}}' % (job.id.encode(), b"9" * 400),
            _record(job.id, measures={"load": 1.7e308}),
            _record(job.id, measures={"load": -1}),
            _record(job.id, ended_at=-1.7e308),
            _record(job.id, steps=[{"name": "a", "ms": 1.7e308}]),
            _record(job.id, steps=[{"name": "a", "ms": -1}]),
            _record(job.id, session=2**80),
            _record(job.id, error={"kind": "x" * 70_000}),
        ]
        for data in bad:
            await stage.jet.publish(subject, data)
        await stage.jet.publish(session_record("jnever", "evil"), _record("jnever"))
        kept = await _quarantined(stage, "record", len(bad) + 1)
        assert len(kept) == len(bad) + 1
        assert all(q.reason and q.size >= 0 and len(q.data) <= 5_000 for q in kept)
        assert any("there is no job jnever" in q.reason for q in kept)

        runner = asyncio.create_task(RawRunner(stage.nc).run())
        done = await stage.finished(job.id)
        assert (done.counts.ok, done.counts.planned, done.verdict) == (20, 20, "passed")
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)


async def test_unknown_fields_of_a_newer_version_are_ignored(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(1)
        data = _record(job.id, a_field_of_tomorrow={"x": [1]})
        await stage.jet.publish(session_record(job.id, "evil"), data)
        done = await stage.finished(job.id)
        assert done.counts.ok == 1


async def test_a_replayed_record_is_superseded(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(2)
        subject = session_record(job.id, "evil")
        for _ in range(3):
            await stage.jet.publish(subject, _record(job.id, status="failed", error={"kind": "x"}))
        await stage.jet.publish(subject, _record(job.id, status="ok"))
        await stage.jet.publish(subject, _record(job.id, session=2))
        done = await stage.finished(job.id)
        assert (done.counts.ok, done.counts.failed, done.counts.superseded) == (1, 1, 3)


async def test_heartbeats_of_others_and_of_nonsense_do_not_count(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        real = RawRunner(stage.nc, "real")
        await stage.nc.publish(runner_heartbeat("ghost"), b"nonsense")
        await real.beat()
        await eventually(lambda: stage.fleet.runner("real"), 5)
        beat = codec.to_builtins(stage.fleet.runner("real"))
        await stage.nc.publish(runner_heartbeat("ghost"), codec.encode(beat | {"runner": "real"}))
        assert len(await _quarantined(stage, "heartbeat", 2)) == 2
        assert stage.fleet.runner("ghost") is None


@asynccontextmanager
async def _registrar(stage: Backstage) -> AsyncIterator[None]:
    registrar = Registrar(stage.nc, stage.fleet.roster, stage.quarantine, lease=15.0)
    task = asyncio.create_task(registrar.run())
    await asyncio.wait_for(registrar.listening.wait(), 5)
    await stage.nc.flush()
    await stage.nc.flush()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


GOOD = {
    "runner": "r1",
    "instance": "i1",
    "platforms": [{"platform": "linux-chromium"}],
    "slots": 2,
    "protocol": 1,
}


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (b"nonsense", "bad_request", "not a readable"),
        (GOOD | {"protocol": 7}, "protocol_version", "speaks protocol 7"),
        (GOOD | {"runner": "a.b"}, "bad_request", "runner id"),
        (GOOD | {"runner": "conductor"}, "bad_request", "taken by the conductor"),
        (GOOD | {"slots": 0}, "bad_request", "0 slots"),
        (GOOD | {"platforms": []}, "bad_request", "no platform"),
        (GOOD | {"platforms": [{"platform": "amiga-aweb"}]}, "bad_request", "not a platform"),
        (GOOD | {"pool": "a>b"}, "bad_request", "pool"),
    ],
)
async def test_a_bad_registration_is_refused_in_words(
    own_broker: EmbeddedServer, request_: object, code: str, words: str
) -> None:
    data = request_ if isinstance(request_, bytes) else json.dumps(request_).encode()
    async with backstage(own_broker.url) as stage, _registrar(stage):
        reply = codec.decode((await stage.nc.request(RUNNER_REGISTER, data)).data, RegisterReply)
        assert reply.settings is None
        assert reply.refusal is not None
        assert reply.refusal.code == code
        assert words in reply.refusal.detail


async def test_a_good_registration_is_accepted_and_a_second_of_its_name_refused(
    own_broker: EmbeddedServer,
) -> None:
    async with backstage(own_broker.url) as stage, _registrar(stage):
        data = json.dumps(GOOD).encode()
        reply = codec.decode((await stage.nc.request(RUNNER_REGISTER, data)).data, RegisterReply)
        assert reply.settings is not None
        assert reply.settings.consumers == {"linux-chromium": "linux-chromium"}
        await RawRunner(stage.nc, "r1").beat()
        await eventually(lambda: stage.fleet.runner("r1"), 5)
        other = json.dumps(GOOD | {"instance": "i2"}).encode()
        reply = codec.decode((await stage.nc.request(RUNNER_REGISTER, other)).data, RegisterReply)
        assert reply.refusal is not None
        assert reply.refusal.code == "duplicate_id"
        assert reply.refusal.retry_after_s
