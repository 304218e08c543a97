"""Runners go where dispatch and grant both allow it, and no longer than the grant holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.grant import Grant, SignedGrant
from broker_config.keyring import Keyring
from broker_config.messages import Dispatch, JobControl, RunnerSettings, SessionRecord
from broker_config.origin import Origin
from broker_config.signature import Signer
from broker_config.subjects import job_control, job_dispatch
from orchestrator.bus.jet import ToPublish
from runner.core.egress_policy import EgressPolicy
from runner.gate.gate import Gate
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.backstage import Backstage, backstage
from tests.support.gate_executor import GateExecutor
from tests.support.stub_executor import StubExecutor
from tests.support.target_parts import ProvingSite, proving_site
from tests.support.waiting import eventually

PLATFORM = "linux-chromium"
SUBJECT = job_dispatch(PLATFORM)
KEYS = Keyring.new()
OURS, THEIRS = Signer(KEYS.dispatch), Signer(Keyring.new().dispatch)
URL = "http://127.0.0.1:9/x"
GRANT = Grant(job="job1", origins=["http://127.0.0.1:9"], expires_at=time.time() + 600)


def dispatch(grant: SignedGrant | None, **more: object) -> Dispatch:
    found = Dispatch(job="job1", session=1, platform=PLATFORM, target="t", url=URL, grant=grant)
    return msgspec.structs.replace(found, **more)


@asynccontextmanager
async def running(url: str, executor: StubExecutor | GateExecutor, folder: Path) -> AsyncIterator[Runner]:
    config = RunnerConfig(data_dir=folder, nats=url, name="r1", slots=2, saturation_busy=2.0)
    runner = Runner(config, executor)
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


async def send(stage: Backstage, dispatch: Dispatch) -> None:
    """Signed as a message, whatever grant is in it."""
    data = codec.encode(dispatch)
    await stage.jet.publish_all([ToPublish(SUBJECT, data, dispatch.message_id, OURS.headers(SUBJECT, data))])


async def recorded(stage: Backstage, job: str = "job1") -> SessionRecord:
    async def there() -> SessionRecord | None:
        return next(iter(await stage.records(job)), None)

    found = await eventually(there, 10, what=f"a record of {job}")
    assert found is not None
    return found


def changed(**more: object) -> Grant:
    return msgspec.structs.replace(GRANT, **more)


REFUSED: dict[str, tuple[SignedGrant | None, str]] = {
    "none": (None, "brings no grant"),
    "unsigned": (SignedGrant.plain(GRANT), "it is not signed"),
    "by another key": (SignedGrant.of(GRANT, THEIRS), "not known here"),
    "by another key in our name": (
        msgspec.structs.replace(SignedGrant.of(GRANT, THEIRS), key=OURS.public_key),
        "does not fit",
    ),
    "changed": (
        msgspec.structs.replace(
            SignedGrant.of(changed(origins=["http://127.0.0.1:8"]), OURS), body=SignedGrant.plain(GRANT).body
        ),
        "does not fit",
    ),
    "of another job": (SignedGrant.of(changed(job="job2"), OURS), "does not fit"),
    "of another project": (SignedGrant.of(changed(project="bank"), OURS), "project bank"),
    "for another origin": (SignedGrant.of(changed(origins=["http://127.0.0.1:8"]), OURS), "not among"),
    "that has ended": (SignedGrant.of(changed(expires_at=time.time() - 5), OURS), "ended"),
}


@pytest.mark.parametrize("how", list(REFUSED))
async def test_a_session_without_a_grant_that_holds_is_not_started(
    own_broker: EmbeddedServer, tmp_path: Path, how: str
) -> None:
    grant, words = REFUSED[how]
    executor = StubExecutor(0.0)
    async with (
        backstage(own_broker.url, keyring=KEYS, registers=True) as stage,
        running(own_broker.url, executor, tmp_path),
    ):
        await send(stage, dispatch(grant))
        record = await recorded(stage)
        assert (record.status, record.error and record.error.kind) == ("failed", "origin_refused")
        assert record.error is not None
        assert "not started" in record.error.detail
        assert words in record.error.detail
        await send(stage, dispatch(SignedGrant.of(changed(job="job3"), OURS), job="job3"))
        assert (await recorded(stage, "job3")).status == "ok"
    assert [e[1] for e in executor.events if e[0] == "start"] == ["job3"]


async def test_a_grant_ends_by_the_clock_of_the_orchestrators(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    seen: list[Dispatch] = []
    executor = StubExecutor(0.0, play=seen.append)  # type: ignore[arg-type]
    async with (
        backstage(own_broker.url, keyring=KEYS, registers=True) as stage,
        running(own_broker.url, executor, tmp_path) as runner,
    ):
        # This machine's clock is a day behind theirs.
        runner.trust._clock = lambda: time.time() - 86_400
        runner.trust.learn(RunnerSettings(now=time.time()))
        ends = time.time() + 600
        await send(stage, dispatch(SignedGrant.of(changed(expires_at=ends), OURS)))
        assert (await recorded(stage)).status == "ok"
        late = changed(job="job2", expires_at=time.time() - 1)
        await send(stage, dispatch(SignedGrant.of(late, OURS), job="job2"))
        assert (await recorded(stage, "job2")).status == "failed"
    (d,) = seen
    assert d.grant is not None
    assert d.grant.read().expires_at == pytest.approx(ends - 86_400, abs=5)


async def test_a_running_session_goes_on_when_its_grant_is_renewed(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    executor = StubExecutor(lambda d: None)
    async with (
        backstage(own_broker.url, keyring=KEYS, registers=True) as stage,
        running(own_broker.url, executor, tmp_path) as runner,
    ):
        await send(stage, dispatch(SignedGrant.of(GRANT, OURS)))
        await eventually(lambda: executor.active == 1)
        longer = changed(expires_at=time.time() + 9_000)
        grants = [
            SignedGrant.of(longer, THEIRS),
            SignedGrant.of(changed(job="job2"), OURS),
            SignedGrant.of(changed(expires_at=time.time() - 1), OURS),
            SignedGrant.of(longer, OURS),
        ]
        order = JobControl(job="job1", command="renew", grants=grants)
        await stage.nc.publish(job_control("job1"), codec.encode(order))
        await eventually(lambda: executor.renewed, 5, what="renewed")
        assert [(g.job, round(g.expires_at)) for g in executor.renewed] == [
            ("job1", round(longer.expires_at))
        ]
        runner.kill()


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def through_the_gate() -> AsyncIterator[tuple[Gate, Clock, httpx.AsyncClient, ProvingSite]]:
    clock = Clock()
    async with proving_site() as site, Gate(wall=clock) as gate:
        site.pages["/"] = (200, "", b"here")
        own = Origin("http", "127.0.0.1", site.port)
        policy = EgressPolicy(origins=frozenset({own}), job="job1", expires_at=100.0)
        async with (
            gate.session(policy) as lease,
            httpx.AsyncClient(proxy=lease.proxy_url, base_url=str(own), trust_env=False) as client,
        ):
            yield gate, clock, client, site


async def test_the_gate_opens_nothing_new_when_the_grant_has_ended() -> None:
    async with through_the_gate() as (gate, clock, client, site):
        assert (await client.get("/")).text == "here"
        clock.now = 100.0
        refused = await client.get("/")
        assert (refused.status_code, "grant has ended" in refused.text) == (403, True)
        assert len(site.heads) == 1
        own = Origin("http", "127.0.0.1", site.port)
        for job, origins, until in (
            ("job2", {own}, 900.0),
            ("job1", {own._replace(port=1)}, 900.0),
            ("job1", {own}, 99.0),
        ):
            gate.renew(job, frozenset(origins), until)
            assert (await client.get("/")).status_code == 403, "not for this session"
        gate.renew("job1", frozenset({own, own._replace(port=1)}), 200.0)
        assert (await client.get("/")).status_code == 200
        gate.renew("job1", frozenset({own}), 50.0)
        assert (await client.get("/")).status_code == 200, "an old one shortens nothing"
        clock.now = 200.0
        assert (await client.get("/")).status_code == 403


async def test_a_session_that_outlives_its_grant_says_why_it_failed(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Two requests, the second after the end."""
    executor = GateExecutor(requests=2)
    executor.go.clear()
    async with (
        proving_site() as site,
        backstage(own_broker.url, keyring=KEYS, registers=True) as stage,
        running(own_broker.url, executor, tmp_path),
    ):
        site.pages["/"] = (200, "", b"here")
        clock = Clock()
        executor._gate._wall = clock
        url = f"http://127.0.0.1:{site.port}"
        grant = SignedGrant.of(changed(origins=[url]), OURS)
        await send(stage, dispatch(grant, url=f"{url}/"))
        await eventually(lambda: len(site.heads) == 1)
        clock.now = time.time() + 10_000
        executor.go.set()
        record = await recorded(stage)
        assert record.error is not None
        assert (record.error.kind, len(site.heads)) == ("origin_refused", 1)
        assert "grant has ended" in record.error.detail
