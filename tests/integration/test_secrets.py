"""Stored secrets: kept sealed, given to the runner of a session, in an envelope, and forgotten there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.envelope import Envelope
from broker_config.errors import ProjectNotFound, SealBroken, SecretNotFound, SpecError
from broker_config.job_spec import read_spec
from broker_config.messages import (
    SEALED,
    Dispatch,
    ErrorInfo,
    PlatformOffer,
    SecretBundle,
    SecretReply,
    SecretRequest,
)
from broker_config.proxy import Proxy
from broker_config.proxy_pool import ProxyPool, pool_key, pool_subject
from broker_config.seal import Seal
from broker_config.subjects import RUNNER_SECRET, runner_secret
from orchestrator.bus.proxy_store import ProxyStore
from orchestrator.bus.proxy_sweep import ProxySweep
from orchestrator.bus.secret_desk import MOST_ASKED, SecretDesk
from orchestrator.bus.secret_store import SecretStore
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.service import Runner
from runner.settings import RunnerConfig
from runner.work.executor import Say
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.front_desk import FrontDesk, front_desk
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

CANARY = "canary-8c1d/x y"
JOURNEY = {"steps": [{"fill": {"label": "Password", "value": "${secret:PW}"}}]}


@pytest.fixture
async def stage(own_broker: EmbeddedServer) -> AsyncIterator[Backstage]:
    async with backstage(own_broker.url) as stage:
        yield stage


# --- what is stored ----------------------------------------------------------------------------------------


async def raw(stage: Backstage, bucket: str) -> list[bytes]:
    return [m.data for m in await stage.jet.read_all(f"KV_{bucket}", ">")]


async def test_a_secret_is_stored_sealed_and_never_listed(stage: Backstage) -> None:
    store = stage.store.secrets
    view = await store.put("shop", "PW", CANARY, by="jane")
    assert (view.name, view.set_by) == ("PW", "jane")
    assert await store.all("shop") == [view]
    assert await store.all("other") == []
    (data,) = await raw(stage, "secrets")
    assert b"canary" not in data
    assert await store.values("shop", ["PW"]) == {"PW": CANARY}
    await store.put("shop", "PW", "another", by="joe")
    assert await store.values("shop", ["PW"]) == {"PW": "another"}
    await store.remove("shop", "PW")
    assert await raw(stage, "secrets") == []
    with pytest.raises(SecretNotFound):
        await store.remove("shop", "PW")
    with pytest.raises(SecretNotFound):
        await store.values("shop", ["PW"])


async def test_a_secret_of_another_name_or_project_cannot_be_put_in_its_place(stage: Backstage) -> None:
    store = stage.store.secrets
    await store.put("shop", "PW", CANARY)
    (data,) = await raw(stage, "secrets")
    await stage.jet.publish("$KV.secrets.mine.PW", data)
    with pytest.raises(SealBroken, match="another place"):
        await store.values("mine", ["PW"])


async def test_with_another_key_there_are_words(stage: Backstage) -> None:
    await stage.store.secrets.put("shop", "PW", CANARY)
    other = SecretStore(stage.jet, Seal(bytes(range(32))), clock=time.time)
    assert [s.name for s in await other.all("shop")] == ["PW"]
    with pytest.raises(SealBroken, match="sealed with another key"):
        await other.values("shop", ["PW"])
    await other.put("shop", "PW", "anew")
    assert await other.values("shop", ["PW"]) == {"PW": "anew"}


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("PW", "x" * ((64 << 10) + 1), "at most 64 KiB"),
        ("PW", "abc", "too short"),
        ("PW", "ab\0cd", "no page"),
        ("PW", "ab\ud800cd", "no page"),
        ("a.b", "abcd", "no name of a secret"),
        ("", "abcd", "no name of a secret"),
    ],
)
async def test_what_cannot_be_a_secret(stage: Backstage, name: str, value: str, what: str) -> None:
    with pytest.raises(SpecError) as caught:
        await stage.store.secrets.put("shop", name, value)
    assert what in str(caught.value)
    assert len(str(caught.value)) < 300
    assert await stage.store.secrets.all("shop") == []


async def test_the_longest_secret_can_be_stored(stage: Backstage) -> None:
    value = "ä" * (32 << 10)
    await stage.store.secrets.put("shop", "PW", value)
    assert await stage.store.secrets.values("shop", ["PW"]) == {"PW": value}


async def test_a_project_that_cannot_be_one_has_no_secrets(stage: Backstage) -> None:
    for call in (
        stage.store.secrets.all("a.b"),
        stage.store.secrets.all("*"),
        stage.store.secrets.forget(">"),
    ):
        with pytest.raises(ProjectNotFound):
            await call


async def test_the_secrets_of_a_removed_project_are_gone(stage: Backstage) -> None:
    store = stage.store.secrets
    for project in ("shop", "shop2"):
        await store.put(project, "PW", CANARY)
    await store.forget("shop")
    assert await store.all("shop") == []
    assert len(await store.all("shop2")) == 1


# --- what is submitted -------------------------------------------------------------------------------------


def spec(**more: Any) -> Any:
    return read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 1, "journey": JOURNEY, **more})


async def test_an_unknown_secret_is_refused_with_its_place(stage: Backstage) -> None:
    await stage.store.secrets.put("other", "PW", CANARY)
    for call in (
        stage.store.submit(spec(), source="api", idempotency_key=None, project="shop"),
        stage.store.check(spec(), "shop"),
    ):
        with pytest.raises(SpecError) as caught:
            await call
        (problem,) = caught.value.problems
        assert problem.where == "journey.steps[0].fill.value"
        assert "no secret 'PW'" in problem.what
    await stage.store.secrets.put("shop", "PW", CANARY)
    await stage.store.check(spec(), "shop")


# --- who gets it -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def desk_of(
    stage: Backstage, seal: Seal | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[SecretDesk]:
    desk = SecretDesk(
        stage.jet,
        stage.store,
        stage.fleet.roster,
        stage.quarantine,
        seal or Seal(bytes(32)),
        clock=clock,
    )
    task = asyncio.create_task(desk.run())
    try:
        await desk.listening.wait()
        await stage.nc.flush()
        yield desk
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ask(stage: Backstage, subject: str = RUNNER_SECRET, **more: Any) -> SecretBundle | SecretReply:
    envelope = Envelope()
    fields = {
        "runner": "raw",
        "instance": "raw-1",
        "key": envelope.address,
        "job": "",
        "session": 1,
        "attempt": 1,
        "platform": "linux-chromium",
        **more,
    }
    msg: Msg = await stage.nc.request(subject, codec.encode(SecretRequest(**fields)), timeout=2)
    if SEALED not in (msg.headers or {}):
        return codec.decode(msg.data, SecretReply)
    assert b"canary" not in msg.data
    return codec.decode(envelope.open(msg.data), SecretBundle)


async def refused(stage: Backstage, **more: Any) -> str:
    reply = await ask(stage, **more)
    assert isinstance(reply, SecretReply)
    return f"{reply.refusal}: {reply.detail}"


@contextlib.asynccontextmanager
async def running_job(stage: Backstage, **more: Any) -> AsyncIterator[str]:
    """A job that runs, on a raw runner that never ends its session; its id."""
    raw_runner = RawRunner(stage.nc, slots=1, play=lambda d: None)
    task = asyncio.create_task(raw_runner.run())
    try:
        await eventually(lambda: stage.fleet.roster.get("raw"), what="a runner")
        project = more.pop("project", "default")
        job, _ = await stage.store.submit(spec(**more), source="api", idempotency_key=None, project=project)
        await eventually(lambda: raw_runner.started, what="its session")
        yield job.id
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_the_runner_of_a_session_gets_the_secrets_that_its_job_names(stage: Backstage) -> None:
    for project, value in (("shop", CANARY), ("default", "other canary")):
        await stage.store.secrets.put(project, "PW", value)
    await stage.store.secrets.put("shop", "OTHER", "other canary")
    async with desk_of(stage), running_job(stage, project="shop") as job:
        for subject in (RUNNER_SECRET, runner_secret("raw")):
            bundle = await ask(stage, subject, job=job)
            assert isinstance(bundle, SecretBundle)
            assert bundle.secrets == {"PW": CANARY}
            assert (bundle.job, bundle.pool) == (job, None)
        assert "another process" in await refused(stage, job=job, instance="x")
        assert "no runner r9" in await refused(stage, job=job, runner="r9")
        assert "no sessions for" in await refused(stage, job=job, platform="linux-webkit")
        assert "no session 9" in await refused(stage, job=job, session=9)
        assert "uses no proxies" in await refused(stage, job=job, want="proxies")
        assert "missing: there is no job" in await refused(stage, job="nonesuch")
        assert "is not allowed" in await refused(stage, job="a.b")
        assert "came on runner.secret.r9" in await refused(stage, subject=runner_secret("r9"), job=job)
        assert "a key of 3 bytes" in await refused(stage, job=job, key=b"abc")
        assert "ticket is none of ours" in await refused(stage, want="trial", ticket=b"x")
        msg = await stage.nc.request(RUNNER_SECRET, b"{", timeout=2)
        assert codec.decode(msg.data, SecretReply).refusal == "refused"
        await stage.store.secrets.remove("shop", "PW")
        assert "missing: project shop has no secret 'PW'" in await refused(stage, job=job)
        await stage.store.command(job, "cancel")
        assert "refused: job" in await refused(stage, job=job)


async def test_it_answers_to_inboxes_only_and_to_nobody_without_end(stage: Backstage) -> None:
    heard: list[str] = []

    async def hear(msg: Msg) -> None:
        heard.append(msg.subject)

    forged = ["job.progress.j1.other", "job.control.all", "$KV.secrets.shop.PW", "audit.entry"]
    subs = [await stage.nc.subscribe(subject, cb=hear) for subject in forged]
    async with desk_of(stage, clock=lambda: 7.0):
        for subject in forged:
            await stage.nc.publish(RUNNER_SECRET, b"{", reply=subject)
        inbox, answers = stage.nc.new_inbox(), []

        async def count(msg: Msg) -> None:
            answers.append(msg)

        subs.append(await stage.nc.subscribe(inbox, cb=count))
        for _ in range(MOST_ASKED + 50):
            await stage.nc.publish(runner_secret("raw"), b"{", reply=inbox)
        # Asked after all of these; another runner's turn is its own.
        await stage.nc.request(runner_secret("r9"), b"{", timeout=2)
        await eventually(lambda: len(answers) == MOST_ASKED, what="its share of answers")
        await stage.nc.request(RUNNER_SECRET, b"{", timeout=2)
        await stage.nc.flush()
        assert len(answers) == MOST_ASKED
    assert heard == []
    for sub in subs:
        await sub.unsubscribe()


async def test_a_desk_with_another_key_says_so(stage: Backstage) -> None:
    await stage.store.secrets.put("default", "PW", CANARY)
    async with desk_of(stage), running_job(stage) as job:
        stage.store.secrets._seal = Seal(bytes(range(32)))
        assert "sealed with another key" in await refused(stage, job=job)


async def test_the_proxies_of_its_pool_alone_and_only_what_has_changed(stage: Backstage) -> None:
    await stage.store.proxies.take("p", f"a.example:80:u:{CANARY[:6]}\nb.example:81", replace=True)
    await stage.store.proxies.switch("p", ["b.example:81"], enabled=False)
    await stage.store.proxies.take("q", "c.example:80", replace=True)
    async with desk_of(stage), running_job(stage, journey=None, egress={"pool": "p"}) as job:
        bundle = await ask(stage, job=job, want="proxies")
        assert isinstance(bundle, SecretBundle)
        assert bundle.pool is not None
        assert [p.host for p in bundle.pool.proxies] == ["a.example"]
        assert bundle.pool.proxies[0].password == CANARY[:6]
        again = await ask(stage, job=job, want="proxies", known=bundle.revision)
        assert again == SecretBundle(job=job, revision=bundle.revision)
        await stage.store.proxies.remove("p")
        assert "missing" in await refused(stage, job=job, want="proxies")


# --- proxies at rest ---------------------------------------------------------------------------------------


async def test_pools_from_before_are_sealed_at_the_start(stage: Backstage) -> None:
    pool = ProxyPool(proxies=[Proxy.parse("a.example:80:user:canary-pw")])
    await stage.jet.publish(pool_subject(pool_key("p")), codec.encode(pool))
    store = stage.store.proxies
    assert (await store.get("p"))[0] == pool, "it can be read until then"
    task = asyncio.create_task(ProxySweep(stage.store, store, clock=time.time).run())

    async def sealed() -> bool:
        return all(Seal.is_sealed(data) for data in await raw(stage, "proxies"))

    await eventually(sealed, what="it is sealed")
    task.cancel()
    assert not any(b"canary" in data for data in await raw(stage, "proxies"))
    assert (await store.get("p"))[0] == pool
    assert await store.seal_all() == 0


async def test_pools_move_to_a_new_key(stage: Backstage) -> None:
    await stage.store.proxies.take("p", "a.example:80:user:canary-pw", replace=True)
    new = bytes(range(32))
    both = ProxyStore(stage.jet, Seal(new, [bytes(32)]), clock=time.time)
    assert await both.seal_all() == 1
    alone = ProxyStore(stage.jet, Seal(new), clock=time.time)
    assert (await alone.get("p"))[0].proxies[0].password == "canary-pw"
    with pytest.raises(SealBroken, match="another key"):
        await stage.store.proxies.get("p")
    assert await stage.store.proxies.seal_all() == 0, "and what cannot be opened is left alone"


# --- in the runner -----------------------------------------------------------------------------------------


class Keeping(StubExecutor):
    """Keeps the sessions that it gets, and waits for `go`. The second breaks with all that it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Dispatch] = []
        self.go = asyncio.Event()

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        self.got.append(dispatch)
        say("line", f"types {dispatch.variables.get('secret:PW')}")
        await self.go.wait()
        if dispatch.session == 2:
            raise RuntimeError(f"broke on {dispatch.variables}")
        if dispatch.session == 3:
            return Outcome(status="failed", error=ErrorInfo(kind="page_error", detail=f"at {CANARY}"))
        return Outcome(status="ok")


@pytest.fixture
async def front(own_broker: EmbeddedServer) -> AsyncIterator[FrontDesk]:
    async with front_desk(own_broker.url, lease=2.0) as desk:
        desk.secrets = {"PW": CANARY}
        yield desk


@contextlib.asynccontextmanager
async def runner_of(desk: FrontDesk, tmp_path: Path, executor: Keeping) -> AsyncIterator[Runner]:
    url = desk.nc.connected_url
    assert url is not None
    config = RunnerConfig(
        data_dir=tmp_path, nats=url.geturl(), name="r1", slots=4, saturation_busy=2.0, grace_s=2.0
    )
    runner = Runner(config, executor)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what="registered")
        yield runner
        runner.drain()


def journey() -> Any:
    return spec().journey


async def test_values_live_while_sessions_of_their_job_run(front: FrontDesk, tmp_path: Path) -> None:
    executor = Keeping()
    async with runner_of(front, tmp_path, executor) as runner:
        await front.dispatch(1, journey=journey())
        await front.dispatch(1, job="plain")
        await eventually(lambda: len(executor.got) == 2, what="both")
        given, plain = sorted(executor.got, key=lambda d: d.job)
        assert given.variables == {"secret:PW": CANARY}
        assert plain.variables == {}
        assert [r.dispatch.variables for r in runner.running] == [{}, {}], "the runner's own know nothing"
        assert len(runner.secrets._held) == 1
        await front.dispatch(1, first=4, journey=journey())
        await eventually(lambda: len(executor.got) == 3, what="another one")
        assert len(front.asked) == 1, "one question for all that run at once"
        executor.go.set()
        await front.all_done_but(0)
        assert not runner.secrets._held
        executor.got.clear()
        front.secrets = {"PW": "another"}
        await front.dispatch(1, first=5, journey=journey())
        await eventually(lambda: executor.got, what="a later one")
        assert executor.got[0].variables == {"secret:PW": "another"}
        assert len({r.key for r in front.asked}) == len(front.asked) == 2, "a key for each question"


async def test_what_a_session_says_and_breaks_with_is_masked(
    front: FrontDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = Keeping()
    executor.go.set()
    async with runner_of(front, tmp_path, executor):
        await front.dispatch(3, journey=journey(), retries=0)
        records = await front.all_done(3)
        await eventually(lambda: len([x for x in front.logs if x.event == "finished"]) == 3, what="logs")
    kinds = {r.session: r.error.kind if r.error else "" for r in records}
    assert kinds == {1: "", 2: "runner_error", 3: "page_error"}
    told = [codec.encode(r).decode() for r in (*records, *front.logs)]
    told += [x.getMessage() for x in caplog.records]
    assert any("types ***" in t for t in told)
    assert any("RuntimeError" in t and "broke on" in t for t in told)
    assert not any("8c1d" in t for t in told)


async def test_a_stray_task_of_a_script_does_not_tell_the_log(
    front: FrontDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    executor = Keeping()
    async with runner_of(front, tmp_path, executor):
        await front.dispatch(1, journey=journey())
        await eventually(lambda: executor.got, what="a session")
        try:
            raise ValueError(f"typed {CANARY}")
        except ValueError:
            logging.getLogger("asyncio").exception("stray: %s", CANARY)
        executor.go.set()
        await front.all_done(1)
    (record,) = [r for r in caplog.records if r.name == "asyncio"]
    said = logging.Formatter().format(record)
    assert "stray: ***" in said
    assert "ValueError: typed ***" in said
    assert "8c1d" not in said


async def test_without_its_secrets_a_session_does_not_run(front: FrontDesk, tmp_path: Path) -> None:
    executor = Keeping()
    executor.go.set()
    front.secrets = {}
    async with runner_of(front, tmp_path, executor):
        await front.dispatch(1, journey=journey(), retries=0)
        (record,) = await front.all_done(1)
        front.silent = True
        await front.dispatch(1, first=2, journey=journey(), retries=0)
        records = await front.all_done(2)
    assert not executor.got
    assert record.error == ErrorInfo(
        kind="secret_unavailable",
        detail="the orchestrator did not send the secret 'PW'",
        infrastructure=True,
    )
    last = records[-1].error
    assert last is not None
    assert last.kind == "secret_unavailable"
    assert "cannot be had" in last.detail


async def test_an_answer_for_another_job_is_not_taken(front: FrontDesk, tmp_path: Path) -> None:
    executor = Keeping()
    executor.go.set()
    envelope_of: list[SecretRequest] = []

    async def answer(msg: Msg) -> None:
        from broker_config.envelope import enclose

        request = codec.decode(msg.data, SecretRequest)
        envelope_of.append(request)
        bundle = SecretBundle(job="other", secrets={"PW": CANARY})
        await front.nc.publish(msg.reply, enclose(codec.encode(bundle), request.key), headers={SEALED: "1"})

    front.silent = True
    await front.nc.subscribe(RUNNER_SECRET, cb=answer)
    async with runner_of(front, tmp_path, executor):
        await front.dispatch(1, journey=journey(), retries=0)
        (record,) = await front.all_done(1)
    assert envelope_of
    assert not executor.got
    assert record.error is not None
    assert "about job 'other'" in record.error.detail


def test_nothing_shows_what_it_holds() -> None:
    bundle = SecretBundle(job="j", secrets={"PW": CANARY})
    assert "8c1d" not in repr(bundle)
    assert "8c1d" not in repr([msgspec.structs.replace(bundle)])
    assert PlatformOffer(platform="x")
