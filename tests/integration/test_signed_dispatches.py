"""Dispatches are signed: a runner runs what an orchestrator has sent, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from broker_config import codec
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.job import Job
from broker_config.keyring import Keyring
from broker_config.messages import Dispatch, Quarantined, RunnerSettings
from broker_config.messages.dispatch import DISPATCH_LIFE
from broker_config.provisioning import provision
from broker_config.signature import KEY_HEADER, SIGNATURE_HEADER, Signer, Verifier
from broker_config.streams import DISPATCH
from broker_config.subjects import job_dispatch
from orchestrator.bus.auditor import Auditor
from orchestrator.bus.dispatch_queue import DispatchQueue
from orchestrator.bus.jet import Jet, ToPublish
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

PLATFORM = "linux-chromium"
SUBJECT = job_dispatch(PLATFORM)
KEYS = Keyring.new()
EVIL = "http://127.0.0.1:9/evil"


class Wary(StubExecutor):
    """Keeps the addresses that its sessions were sent to."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        super().__init__(0.0, play=self._played)

    def _played(self, dispatch: Dispatch) -> None:
        self.urls.append(dispatch.url)


@asynccontextmanager
async def running(
    url: str, executor: StubExecutor, data_dir: Path, name: str = "r1"
) -> AsyncIterator[Runner]:
    config = RunnerConfig(data_dir=data_dir, nats=url, name=name, slots=2, saturation_busy=2.0)
    runner = Runner(config, executor)
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


def dispatch(job: str = "job1", session: int = 1, **more: object) -> Dispatch:
    return Dispatch(job=job, session=session, platform=PLATFORM, target="t", url=EVIL, **more)  # type: ignore[arg-type]


async def quarantined(stage: Backstage, count: int) -> list[Quarantined]:
    async def enough() -> list[Quarantined]:
        stored = await stage.jet.read_all("QUARANTINE", "quarantine.dispatch")
        return [codec.decode(s.data, Quarantined) for s in stored] if len(stored) >= count else []

    return await eventually(enough, 5, what=f"{count} dispatches in quarantine")


async def waiting(stage: Backstage) -> int:
    return int((await stage.jet.api(f"STREAM.INFO.{DISPATCH.name}"))["state"]["messages"])


async def agreed(stage: Backstage, job: Job) -> None:
    report = await Auditor(stage.jet, stage.store).audit(job.id)
    assert report.agrees, report.findings


async def test_signed_sessions_run_and_are_counted(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    wary = Wary()
    async with backstage(own_broker.url, keyring=KEYS, registers=True) as stage:
        async with running(own_broker.url, wary, tmp_path) as runner:
            job = await stage.submit(30)
            done = await stage.finished(job.id)
            assert (done.counts.ok, done.verdict) == (30, "passed")
            assert runner.faults.malformed == 0
        await agreed(stage, done)


async def test_what_no_orchestrator_has_signed_is_never_run(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    wary, theirs, ours = Wary(), Signer(Keyring.new().dispatch), Signer(KEYS.dispatch)
    data = codec.encode(dispatch())
    elsewhere = ours.headers(job_dispatch(PLATFORM, "eu"), data)
    forged: list[tuple[bytes, dict[str, str]]] = [
        (data, {}),
        (data, theirs.headers(SUBJECT, data)),
        (data, theirs.headers(SUBJECT, data) | {KEY_HEADER: ours.public_key}),
        (data, elsewhere),
        (data.replace(b"evil", b"vile"), ours.headers(SUBJECT, data)),
        (data, ours.headers(SUBJECT, data) | {SIGNATURE_HEADER: "nonsense"}),
        # Not even read: what is in it could be anything.
        (b"{" * 50_000, {}),
    ]
    async with backstage(own_broker.url, keyring=KEYS, registers=True) as stage:
        async with running(own_broker.url, wary, tmp_path) as runner:
            for n, (payload, headers) in enumerate(forged):
                await stage.jet.publish_all([ToPublish(SUBJECT, payload, f"forged.{n}", headers)])
            kept = await quarantined(stage, len(forged))
            assert all(q.by == "r1" for q in kept)
            assert {q.reason for q in kept} >= {"it is not signed", "its signature cannot be read"}
            await eventually(lambda: runner.faults.forged == len(forged))
            job = await stage.submit(4)
            done = await stage.finished(job.id)
            assert done.counts.ok == 4
        assert await waiting(stage) == 0
    assert wary.urls == ["http://127.0.0.1:1/"] * 4


async def test_a_forged_message_in_the_place_of_a_session_costs_an_attempt_and_no_session(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Under the very message id of a session that is not sent yet: the broker takes the real one for its
    duplicate."""
    wary = Wary()
    async with backstage(own_broker.url, keyring=KEYS, registers=True) as stage:
        job = await stage.submit(3)
        squatting = dispatch(job.id, 2)
        await stage.jet.publish(SUBJECT, codec.encode(squatting), message_id=squatting.message_id)
        async with running(own_broker.url, wary, tmp_path):
            done = await stage.finished(job.id, 30)
        assert (done.counts.planned, done.counts.ok, done.counts.superseded) == (3, 3, 0)
        assert sorted((r.session, r.attempt) for r in await stage.records(job.id)) == [(1, 1), (2, 2), (3, 1)]
        await agreed(stage, done)
        assert len(await quarantined(stage, 1)) == 1
    assert wary.urls == ["http://127.0.0.1:1/"] * 3


async def test_a_conductor_removes_what_no_orchestrator_has_signed(own_broker: EmbeddedServer) -> None:
    refused: list[tuple[str, bytes, str]] = []
    async with connected(own_broker.url, name="test") as nc:
        await provision(nc)
        jet = Jet(nc)
        queue = DispatchQueue(
            jet,
            clock=time.time,
            signer=Signer(KEYS.dispatch),
            verifier=Verifier(KEYS.dispatch_keys),
            refused=lambda *message: refused.append(message),
        )
        seqs = await queue.send([dispatch("jobA", n) for n in (1, 2)])
        forged = codec.encode(dispatch("jobA", 3))
        await jet.publish(SUBJECT, forged)
        assert [(q.seq, q.dispatch.session) for q in await queue.scan()] == [(seqs[0], 1), (seqs[1], 2)]
        assert [s.seq for s in await jet.read_all(DISPATCH.name, "job.dispatch.>")] == seqs
        await queue.scan()
        assert refused == [(SUBJECT, forged, "it is not signed")]


async def test_message_ids_do_not_change_by_signing(own_broker: EmbeddedServer) -> None:
    async with connected(own_broker.url, name="test") as nc:
        await provision(nc)
        signed = DispatchQueue(Jet(nc), clock=time.time, signer=Signer(KEYS.dispatch))
        plain = DispatchQueue(Jet(nc), clock=time.time)
        batch = [dispatch("jobB", n) for n in range(1, 6)]
        seqs = await plain.send(batch)
        assert await signed.send(batch) == seqs


async def test_a_session_that_was_run_is_not_run_again_by_its_old_message(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Signed as it was, sent again by somebody who kept it: as itself while the job runs, and after it."""
    wary = Wary()
    async with backstage(own_broker.url, keyring=KEYS, registers=True) as stage:
        copies: list[ToPublish] = []
        send = stage.jet.publish_all

        async def kept(messages: list[ToPublish]) -> object:
            copies.extend(messages)
            return await send(messages)

        stage.jet.publish_all = kept  # type: ignore[method-assign,assignment]
        async with running(own_broker.url, wary, tmp_path):
            job = await stage.submit(6)
            done = await stage.finished(job.id)
            for n, copy in enumerate(copies):
                await send([copy._replace(id=f"replay.{n}")])

            async def taken() -> bool:
                return await waiting(stage) == 0

            await eventually(taken, 5, what="replays taken")
        assert len(copies) == 6
        assert len(wary.urls) == 6
        await agreed(stage, done)


async def test_an_old_message_is_not_run_at_all(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    """By a runner that knows nothing of its session; by the clock of the orchestrators, not by its own."""
    wary, signer = Wary(), Signer(KEYS.dispatch)
    async with (
        backstage(own_broker.url, keyring=KEYS, registers=True) as stage,
        running(own_broker.url, wary, tmp_path) as runner,
    ):
        old = DispatchQueue(stage.jet, clock=lambda: time.time() - DISPATCH_LIFE - 5, signer=signer)
        await old.send([dispatch("jobold", 1)])
        (kept,) = await quarantined(stage, 1)
        assert "it was sent 3605 s ago" in kept.reason
        assert runner.faults.forged == 1
        runner.trust._clock = lambda: time.time() + 10 * DISPATCH_LIFE
        runner.trust.learn(RunnerSettings(now=time.time()))
        fresh = DispatchQueue(stage.jet, clock=time.time, signer=signer)
        await fresh.send([dispatch("jobnew", 1)])
        await eventually(lambda: wary.urls, 5, what="a fresh one is run")
    assert wary.urls == [EVIL]


async def test_a_message_that_waits_for_long_is_sent_anew(own_broker: EmbeddedServer) -> None:
    """Before it is too old; as the same attempt, since nobody had it."""
    ahead = 0.0
    async with backstage(own_broker.url, keyring=KEYS) as stage:
        stage.conductor._clock = lambda: time.time() + ahead
        await stage.jet.api("STREAM.UPDATE." + DISPATCH.name, await _with_window(stage, 0.1))
        idle = RawRunner(stage.nc, "idle", slots=2)
        beats = asyncio.create_task(_beating(idle))
        job = await stage.submit(2, load={"executor": "shared-sessions", "vus": 2})

        async def issued() -> list[Dispatch]:
            stored = await stage.jet.read_all(DISPATCH.name, "job.dispatch.>")
            return [codec.decode(s.data, Dispatch) for s in stored]

        async def all_there() -> bool:
            return len(await issued()) == 2

        await eventually(all_there, 10)
        ahead = DISPATCH_LIFE / 2 + 60

        async def renewed() -> list[Dispatch]:
            found = await issued()
            is_new = len(found) == 2 and all(d.issued_at > time.time() + DISPATCH_LIFE / 2 for d in found)
            return found if is_new else []

        found = await eventually(renewed, 15, what="both sent anew")
        assert sorted((d.job, d.session, d.attempt) for d in found) == [(job.id, 1, 1), (job.id, 2, 1)]
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)


async def _beating(runner: RawRunner) -> None:
    while True:
        await runner.beat()
        await asyncio.sleep(0.5)


async def _with_window(stage: Backstage, seconds: float) -> dict[str, object]:
    config: dict[str, object] = (await stage.jet.api(f"STREAM.INFO.{DISPATCH.name}"))["config"]
    return config | {"duplicate_window": int(seconds * 1e9)}


async def test_runners_go_over_to_new_keys_while_jobs_run(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    """The orchestrator that is new to the fleet signs with a key that the old one has announced."""
    wary, new = Wary(), Keyring.new()
    both = msgspec.structs.replace(KEYS, accepted=(new.public("dispatch"),))
    async with (
        backstage(own_broker.url, keyring=both, registers=True) as stage,
        running(own_broker.url, wary, tmp_path) as runner,
    ):
        for ring in (KEYS, new):
            await DispatchQueue(stage.jet, clock=time.time, signer=Signer(ring.dispatch)).send(
                [dispatch("jobrot", 1 if ring is KEYS else 2)]
            )
        await eventually(lambda: len(wary.urls) == 2, 5, what="both are run")
        # An answer that names no keys takes none away.
        runner.trust.learn(RunnerSettings())
        await stage.jet.publish(SUBJECT, codec.encode(dispatch("jobrot", 3)))
        await quarantined(stage, 1)
        # The old key is announced no more.
        runner.trust.learn(RunnerSettings(dispatch_keys=new.dispatch_keys))
        await DispatchQueue(stage.jet, clock=time.time, signer=Signer(KEYS.dispatch)).send(
            [dispatch("jobrot", 4)]
        )
        await quarantined(stage, 2)
    assert len(wary.urls) == 2
