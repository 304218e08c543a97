"""Runners join, renew and are revoked, against a real broker in operator mode."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from broker_config import codec, connection, nats_jwt
from broker_config.api import API_PREFIX
from broker_config.broker_login import BrokerLogin
from broker_config.duration import Duration
from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from broker_config.enrolment import InviteOrder, NewInvite, RunnerGrant, RunnerRevoked
from broker_config.errors import (
    BrokerRefused,
    CredentialEnded,
    InviteNotFound,
    JoinRefused,
    RunnerNotFound,
    SettingsError,
    SpecError,
)
from broker_config.operator_mode import watcher_token
from broker_config.runner_credential import FILE, RunnerCredential, remove
from broker_config.subjects import job_control, runner_heartbeat
from orchestrator.service import Orchestrator
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.secure_scene import SecureScene, honest_runner, hostile_runner, secure_scene, wish
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureScene]:
    async with secure_scene(tmp_path_factory.mktemp("enrolment")) as scene:
        yield scene


async def invited(scene: SecureScene, **more: Any) -> NewInvite:
    return await scene.enrolment.invite(InviteOrder(**{"ttl": Duration(60), **more}), "test")


async def test_a_stranger_is_not_let_in(scene: SecureScene) -> None:
    with pytest.raises(BrokerRefused):
        await connection.connect(scene.broker.url, name="x", timeout=2)
    stranger = RunnerCredential.new("stranger")
    claims = nats_jwt.user("stranger", stranger.key, permissions={"subs": -1, "data": -1, "payload": -1})
    forged = nats_jwt.encode(claims, stranger.seed.encode(), issued_at=time.time())
    login = BrokerLogin(stranger.seed.encode(), lambda: forged)
    with pytest.raises(BrokerRefused):
        await connection.connect(scene.broker.url, name="x", login=login, timeout=2)


async def test_a_stolen_token_without_the_key_is_nothing(scene: SecureScene) -> None:
    credential = await scene.credential("stolen")
    login = BrokerLogin(nats_jwt.new_user_seed(), lambda: credential.token)
    with pytest.raises(BrokerRefused):
        await connection.connect(scene.broker.url, name="x", login=login, timeout=2)


async def test_an_invite_is_used_as_often_as_it_says(scene: SecureScene) -> None:
    made = await invited(scene, uses=2, pool="gold", platforms=["linux-firefox", "linux-chromium"])
    new = [RunnerCredential.new(f"several-{n}") for n in range(5)]
    found = await asyncio.gather(
        *(scene.enrolment.join(wish(c, made.token), "") for c in new), return_exceptions=True
    )
    granted = [g for g in found if isinstance(g, RunnerGrant)]
    assert len(granted) == 2
    assert all(isinstance(g, JoinRefused) for g in found if g not in granted)
    assert granted[0].pool == "gold"
    assert granted[0].platforms == ["linux-chromium", "linux-firefox"]
    assert granted[0].dispatch_keys == scene.keyring.dispatch_keys
    (shown,) = [i for i in await scene.enrolment.invites() if i.id == made.invite.id]
    assert (shown.used, shown.uses) == (2, 2)
    assert made.token.rpartition("_")[2] not in str(codec.encode(shown))


async def test_an_answer_that_was_lost_can_be_asked_for_again(scene: SecureScene) -> None:
    made, new = await invited(scene), RunnerCredential.new("again")
    first = await scene.enrolment.join(wish(new, made.token), "")
    second = await scene.enrolment.join(wish(new, made.token), "")
    assert nats_jwt.decode(first.token)["sub"] == nats_jwt.decode(second.token)["sub"] == new.key


async def test_a_name_is_bound_to_its_key(scene: SecureScene) -> None:
    await scene.credential("bound")
    made = await invited(scene)
    with pytest.raises(JoinRefused, match="a runner bound has joined already, with another key"):
        await scene.enrolment.join(wish(RunnerCredential.new("bound"), made.token), "")
    # Nothing was spent.
    await scene.enrolment.join(wish(RunnerCredential.new("free"), made.token), "")


async def test_nobody_joins_with_anothers_key(scene: SecureScene) -> None:
    made, other = await invited(scene), await scene.credential("other")
    mine = RunnerCredential.new("mine")
    for wrong in (
        {"key": other.key},
        {"signature": ""},
        {"signature": "AAAA"},
        {"key": "U"},
        {"runner": "x"},
    ):
        with pytest.raises(JoinRefused, match="not shown that the key is its own"):
            await scene.enrolment.join(wish(mine, made.token, **wrong), "")


async def test_tokens_that_are_none_are_all_refused_in_the_same_words(scene: SecureScene) -> None:
    made, over = await invited(scene), await invited(scene, ttl=Duration(10))
    gone = await invited(scene)
    await scene.enrolment.remove_invite(gone.invite.id)
    with pytest.raises(InviteNotFound):
        await scene.enrolment.remove_invite(gone.invite.id)
    wrong = ["", "tbj_", "tbj_x_y", made.token[:-1], made.token + "x", "tbj_a.b_c", "tbj_*_x", gone.token]
    said = set()
    for token in wrong:
        with pytest.raises(JoinRefused) as e:
            await scene.enrolment.join(wish(RunnerCredential.new("nobody"), token), "")
        said.add(str(e.value))
    assert len(said) == 1
    assert over.invite.expires_at - time.time() < 11


@pytest.mark.parametrize(
    ("order", "where"),
    [
        ({"ttl": Duration(1)}, "ttl"),
        ({"ttl": Duration(99 * 86_400)}, "ttl"),
        ({"pool": "a.b"}, "pool"),
        ({"pool": "scripts"}, "pool"),
        ({"pool": "x" * 60}, "pool"),
        ({"platforms": ["linux-chromium", "amiga-lynx"]}, "platforms[1]"),
    ],
)
async def test_an_order_that_cannot_be_is_refused(scene: SecureScene, order: Any, where: str) -> None:
    with pytest.raises(SpecError) as e:
        await invited(scene, **order)
    assert [p.where for p in e.value.problems] == [where]


async def test_over_rest(scene: SecureScene) -> None:
    async with httpx.AsyncClient(base_url=scene.orchestrator.url + API_PREFIX) as http:
        made = await http.post("/runner-invites", json={"uses": 1, "ttl": "10m", "pool": "rest"})
        assert made.status_code == 201
        token = made.json()["token"]
        assert token not in (await http.get("/runner-invites")).text
        new = RunnerCredential.new("by-rest")
        body = {"content": codec.encode(wish(new, token)), "headers": {"Content-Type": "application/json"}}
        grant = codec.decode((await http.post("/runner-join", **body)).content, RunnerGrant)
        assert (grant.runner, grant.pool) == ("by-rest", "rest")
        new = new.granted(grant, now=time.time())
        async with hostile_runner(scene, new) as there:
            revoked = await http.post("/runners/by-rest/revoke")
            assert codec.decode(revoked.content, RunnerRevoked).runner == "by-rest"
            await eventually(lambda: there.nc.is_closed, 2, what="cut")
        assert (await http.post("/runner-join", **body)).status_code == 403
        assert (await http.post("/runners/nobody/revoke")).status_code == 404
        assert (await http.delete("/runner-invites/none")).status_code == 404


async def test_an_open_broker_says_that_it_is(broker_url: str) -> None:
    from orchestrator.settings import OrchestratorConfig

    config = OrchestratorConfig(nats=broker_url, port=0, anonymous="admin")
    async with (
        Orchestrator(config) as open_one,
        httpx.AsyncClient(base_url=open_one.url + API_PREFIX) as http,
    ):
        join = {"token": "tbj_a_b", "runner": "r", "key": "U", "signature": ""}
        for answer in (
            await http.post("/runner-invites", json={}),
            await http.get("/runner-invites"),
            await http.delete("/runner-invites/x"),
            await http.post("/runner-join", json=join),
            await http.post("/runners/r/revoke"),
        ):
            assert answer.status_code == 409
            assert "--secure" in answer.json()["detail"]


async def test_a_revoked_runner_ends_in_words_and_its_name_is_free(scene: SecureScene) -> None:
    credential = await scene.credential("ended")
    executor = StubExecutor(None)
    at = scene.tmp_path / "ended"
    runner = Runner(
        RunnerConfig(data_dir=at, nats=scene.broker.url, credential=credential, slots=1), executor
    )
    running = asyncio.create_task(runner.run())
    await eventually(runner.registered.is_set)
    job = await scene.submit(1, platforms=["linux-chromium"])
    await eventually(lambda: executor.active == 1, what="a session runs")
    began = time.monotonic()
    await scene.enrolment.revoke("ended", "test")
    with pytest.raises(CredentialEnded, match=r"revoked.*tb-runner leave.*tb runners invite"):
        await asyncio.wait_for(running, 2)
    assert time.monotonic() - began < 2
    assert executor.active == 0
    await scene.orchestrator.store.command(job.id, "cancel")
    # Started again it is not let in, and says so.
    with pytest.raises(CredentialEnded, match="credential has ended"):
        await Runner(
            RunnerConfig(data_dir=at, nats=scene.broker.url, credential=credential, slots=1), executor
        ).run()
    # Its key is of no more use, its name is.
    made = await invited(scene, uses=2)
    with pytest.raises(JoinRefused, match="key is revoked"):
        await scene.enrolment.join(wish(credential, made.token), "")
    again = await scene.credential("ended")
    async with hostile_runner(scene, again):
        with pytest.raises(BrokerRefused):
            async with hostile_runner(scene, credential):
                pass
    with pytest.raises(JoinRefused):
        await scene.enrolment.renew("ended", credential.key)
    with pytest.raises(RunnerNotFound):
        await scene.enrolment.revoke("nobody", "test")


async def test_a_credential_is_renewed_in_time_and_sessions_go_on(tmp_path: Path) -> None:
    async with secure_scene(tmp_path) as scene:
        scene.enrolment._life = 4.0
        credential = await scene.credential("renewed")
        executor = StubExecutor(0.05)
        async with honest_runner(scene, credential, executor) as runner:
            first = nats_jwt.decode(credential.token)["exp"]
            job = await scene.submit(
                160, platforms=["linux-chromium"], load={"executor": "shared-sessions", "vus": 2}
            )
            done = await scene.finished(job.id, 40)
            assert done.counts.ok == 160
            await eventually(lambda: time.time() > first + 1, 10, interval=0.2)
            assert runner.link.nc.is_connected
            stored = RunnerCredential.load(tmp_path / "renewed")
            assert stored is not None
            assert nats_jwt.decode(stored.token)["exp"] > first
            assert stored.seed == credential.seed
            # Nobody renews any more: it is cut when its time is over, and ends in words.
            scene.enrolment._life = 4.0


async def test_a_credential_that_is_not_renewed_runs_out(scene: SecureScene) -> None:
    scene.enrolment._life = 2.0
    try:
        credential = await scene.credential("short")
    finally:
        scene.enrolment._life = 3600.0
    # As if it would hold for long: it does not ask in time.
    credential = msgspec.structs.replace(credential, life=3600.0)
    at = scene.tmp_path / "short"
    runner = Runner(
        RunnerConfig(data_dir=at, nats=scene.broker.url, credential=credential, slots=1), StubExecutor(0.0)
    )
    with pytest.raises(CredentialEnded, match="expired"):
        await asyncio.wait_for(runner.run(), 8)


async def test_revocations_outlive_the_broker_and_reach_a_new_orchestrator(tmp_path: Path) -> None:
    async with secure_scene(tmp_path) as scene:
        assert isinstance(scene.broker, EmbeddedServer)
        kept, gone = await scene.credential("kept"), await scene.credential("gone")
        await scene.enrolment.revoke("gone", "test")
        async with Orchestrator(scene.config(name="second")) as second:
            await eventually(lambda: second.enrolment._bucket.revoked(time.time()))  # type: ignore[attr-defined]
            os.kill(scene.broker.pid, signal.SIGKILL)
            await eventually(lambda: scene.broker.restarts == 1, 15)  # type: ignore[union-attr]
            # At once: nobody has told the broker anything since.
            with pytest.raises(BrokerRefused):
                async with hostile_runner(scene, gone):
                    pass
            async with hostile_runner(scene, kept) as there:
                began = time.monotonic()
                await second.enrolment.revoke("kept", "test")
                await eventually(lambda: there.nc.is_closed, 2)
                assert time.monotonic() - began < 2


async def test_a_cluster_in_operator_mode(tmp_path: Path) -> None:
    async with secure_scene(tmp_path, nodes=3, lease=3.0) as scene:
        assert isinstance(scene.broker, EmbeddedCluster)
        credential, other = await scene.credential("one"), await scene.credential("two")
        async with honest_runner(scene, credential, StubExecutor(0.01)):
            job = await scene.submit(30, platforms=["linux-chromium"])
            os.kill(scene.broker.nodes[0].pid, signal.SIGKILL)
            assert (await scene.finished(job.id, 60)).counts.ok == 30
        # Connected to each node, it is cut at each.
        urls = [node.url for node in scene.broker.nodes]
        there = []
        for url in urls:
            login = other.login()
            there.append(await connection.connect(url, name="x", login=login, timeout=15))
        await scene.enrolment.revoke("two", "test")
        await eventually(lambda: all(nc.is_closed for nc in there), 2, what="cut at all nodes")
        for url in urls:
            with pytest.raises(BrokerRefused):
                await connection.connect(url, name="x", login=other.login(), timeout=3)


async def test_who_looks_on_sees_and_changes_nothing(scene: SecureScene) -> None:
    seed = nats_jwt.new_user_seed()
    key = nats_jwt.public_key(seed)
    token = watcher_token(scene.keyring, "w", key, now=time.time(), expires_at=None)
    refused: list[str] = []
    seen: list[str] = []
    async with connection.connected(
        scene.broker.url,
        name="w",
        login=BrokerLogin(seed, lambda: token),
        on_error=lambda e: refused.append(str(e)),
    ) as nc:

        async def see(msg: Any) -> None:
            seen.append(msg.subject)

        for subject in ("job.progress.*", "job.progress.*.*", "job.log.*.*", "runner.heartbeat.*"):
            await nc.subscribe(subject, cb=see)
        await nc.flush()
        await nc.flush()
        credential = await scene.credential("seen")
        async with hostile_runner(scene, credential) as there, scene.orchestrator_login() as own:
            subjects = [runner_heartbeat("seen"), "job.progress.j1.seen", "job.log.j1.seen"]
            for subject in subjects:
                await there.nc.publish(subject, b"{}")
            await own.publish("job.progress.j1", b"{}")
            await own.flush()
            await eventually(lambda: {*subjects, "job.progress.j1"} <= set(seen), 5, what="all is seen")
        info = await nc.request("JSA.API.STREAM.INFO.PROGRESS", b"", timeout=3)
        assert b'"PROGRESS"' in info.data
        wrong = [job_control("j1"), "job.progress.j1", "$KV.jobs.x", "JSA.API.CONSUMER.CREATE.PROGRESS.x"]
        wrong += ["JSA.API.STREAM.MSG.GET.KV_people", "JSA.API.STREAM.PURGE.PROGRESS", "runner.register"]
        for subject in wrong:
            await nc.publish(subject, b"{}")
            await nc.flush()
            await nc.flush()
            assert f'publish to "{subject.lower()}"' in refused[-1]
        for subject in (">", "runner.register.*", "runner.secret.*", "job.dispatch.>", "$KV.>"):
            await nc.subscribe(subject)
            await nc.flush()
            await nc.flush()
            assert f'subscription to "{subject.lower()}"' in refused[-1]


async def test_the_file_of_a_credential(tmp_path: Path) -> None:
    new = RunnerCredential.new("r1")
    assert new.seed not in repr(new)
    assert RunnerCredential.load(tmp_path) is None
    new.save(tmp_path / "deep")
    path = tmp_path / "deep" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert RunnerCredential.load(tmp_path / "deep") == new
    assert [p.name for p in path.parent.iterdir()] == [FILE]
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="can be read by others; chmod 600"):
        RunnerCredential.load(tmp_path / "deep")
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(SettingsError, match="does not hold a runner's credential"):
        RunnerCredential.load(tmp_path / "deep")
    assert remove(tmp_path / "deep")
    assert not remove(tmp_path / "deep")


def test_a_host_that_is_all_of_them_becomes_the_one_that_was_reached() -> None:
    grant = RunnerGrant(
        runner="r1", token="t", nats=["tls://0.0.0.0:4222", "tls://nats-1:4223"], issued_at=1, expires_at=5
    )
    joined = RunnerCredential.new("r1").granted(grant, now=10, reached="10.0.0.5")
    assert joined.nats == ["tls://10.0.0.5:4222", "tls://nats-1:4223"]
    assert (joined.renew_at, joined.expires_at) == (13, 14)
    assert joined.granted(grant, now=20).nats == joined.nats
    assert RunnerCredential.new("r1").granted(grant, now=1, reached="::1").nats[0] == "tls://[::1]:4222"
