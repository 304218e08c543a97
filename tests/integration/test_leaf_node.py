"""Runners behind a leaf node, in both modes of the broker, against real brokers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker_config import connection, nats_jwt
from broker_config.errors import BrokerRefused, CredentialEnded
from broker_config.keyring import Keyring
from broker_config.operator_mode import broker_accounts, leaf_system_token, leaf_token
from broker_config.runner_credential import RunnerCredential
from broker_config.server_config import LeafRemote, Tls
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.certificate import make_certificate
from tests.support.node_server import NodeServer
from tests.support.ports import free_ports
from tests.support.secure_scene import SecureScene, secure_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


@asynccontextmanager
async def hub(tmp_path: Path) -> AsyncIterator[tuple[SecureScene, Callable[[], NodeServer]]]:
    """A hub that talks TLS, and what makes its leaf node."""
    (port,) = free_ports(1)
    make_certificate(tmp_path)
    cert = str(tmp_path / "cert.pem")
    tls = Tls(cert_file=cert, key_file=str(tmp_path / "key.pem"))
    node = {"leaf_port": port}
    opened = secure_scene(
        tmp_path,
        make=lambda at, accounts: NodeServer(at, accounts=accounts, tls=tls, node=node),
        nats_ca=cert,
    )
    async with opened as scene:

        def leaf() -> NodeServer:
            remotes = [
                LeafRemote(
                    urls=(f"tls://127.0.0.1:{port}",),
                    account=scene.keyring.public(account),
                    credentials=str(_credentials(scene.keyring, tmp_path / f"{account}.creds", token)),
                    ca_file=cert,
                )
                for account, token in (("app_account", leaf_token), ("system_account", leaf_system_token))
            ]
            accounts = broker_accounts(scene.keyring)
            return NodeServer(
                tmp_path / "leaf", name="leaf", accounts=accounts, node={"leaf_of": tuple(remotes)}
            )

        yield scene, leaf


async def test_a_runner_behind_a_leaf_node_works_and_is_cut_when_revoked(tmp_path: Path) -> None:
    async with hub(tmp_path) as (scene, make), make() as leaf:
        credential, other = await scene.credential("behind"), await scene.credential("other")
        executor = StubExecutor(0.02)
        runner = Runner(_config(tmp_path / "behind", leaf, credential), executor)
        running = asyncio.create_task(runner.run())
        await eventually(lambda: running.done() or runner.registered.is_set(), what="registered")
        assert not running.done(), running.exception()
        job = await scene.submit(30, platforms=["linux-chromium"])
        assert (await scene.finished(job.id)).counts.ok == 30
        began = time.monotonic()
        await scene.enrolment.revoke("behind", "test")
        with pytest.raises(CredentialEnded, match="revoked"):
            await asyncio.wait_for(running, 2)
        assert time.monotonic() - began < 2
        with pytest.raises(BrokerRefused):
            await _reach(leaf, credential)
        with pytest.raises(BrokerRefused):
            await connection.connect(leaf.url, name="stranger", timeout=2)
        await _reach(leaf, other)


async def test_a_leaf_node_that_was_cut_off_hears_of_revocations_later(tmp_path: Path) -> None:
    async with hub(tmp_path) as (scene, make):
        credential, other = await scene.credential("gone"), await scene.credential("kept")
        async with make() as leaf:
            await _reach(leaf, credential)
        await scene.enrolment.revoke("gone", "test")
        async with make() as leaf:

            async def refused() -> bool:
                try:
                    await _reach(leaf, credential)
                except BrokerRefused:
                    return True
                return False

            await eventually(refused, 8, what="the leaf node has heard of it", interval=0.2)
            await _reach(leaf, other)


async def test_a_leaf_node_changes_no_accounts(tmp_path: Path) -> None:
    """What its system credentials are good for, in other hands."""
    async with hub(tmp_path) as (scene, _):
        seed = nats_jwt.new_user_seed()
        token = leaf_system_token(scene.keyring, nats_jwt.public_key(seed), now=time.time())
        refused: list[str] = []
        async with connection.connected(
            scene.broker.url,
            name="x",
            credentials=_kept(tmp_path / "x.creds", token, seed),
            tls=(await scene.credential("pinned")).tls(),
            on_error=lambda e: refused.append(str(e)),
        ) as nc:
            for subject in ("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.SERVER.PING"):
                await nc.publish(subject, b"{}")
                await nc.flush()
                await nc.flush()
                assert f'publish to "{subject.lower()}"' in refused[-1]


async def test_a_leaf_node_of_an_open_hub(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    remote = LeafRemote(urls=(f"nats-leaf://127.0.0.1:{port}",))
    async with (
        NodeServer(tmp_path / "hub", node={"leaf_port": port}) as open_hub,
        NodeServer(tmp_path / "leaf", name="leaf", node={"leaf_of": (remote,)}) as leaf,
        Orchestrator(OrchestratorConfig(nats=open_hub.url, port=0, anonymous="admin")) as orchestrator,
    ):
        scene = SecureScene(Keyring.new(), tmp_path, open_hub, tmp_path)
        scene.orchestrator = orchestrator
        runner = Runner(_config(tmp_path / "open", leaf, None), StubExecutor(0.02))
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(runner.run())
            job = await scene.submit(20, platforms=["linux-chromium"])
            assert (await scene.finished(job.id)).counts.ok == 20
            runner.drain()


def _config(at: Path, leaf: NodeServer, credential: RunnerCredential | None) -> RunnerConfig:
    return RunnerConfig(
        data_dir=at, nats=leaf.url, credential=credential, slots=2, saturation_busy=2.0, grace_s=2.0
    )


async def _reach(leaf: NodeServer, credential: RunnerCredential) -> None:
    nc = await connection.connect(leaf.url, name=credential.runner, login=credential.login(), timeout=3)
    await connection.leave(nc)


def _credentials(keyring: Keyring, path: Path, token: Callable[..., str]) -> Path:
    seed = nats_jwt.new_user_seed()
    return _kept(path, token(keyring, nats_jwt.public_key(seed), now=time.time()), seed)


def _kept(path: Path, token: str, seed: bytes) -> Path:
    path.write_text(nats_jwt.credentials(token, seed))
    return path
