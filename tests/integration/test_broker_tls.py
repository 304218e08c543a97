"""Orchestrators and runners of a broker that talks TLS alone, against real ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from nats.aio.client import Client

from broker_config import connection
from broker_config.broker_login import BrokerLogin
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerUnavailable
from broker_config.keyring import Keyring
from broker_config.operator_mode import BrokerAccounts, broker_accounts
from broker_config.runner_credential import RunnerCredential, pinned
from broker_config.server_config import Tls
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from tests.support.certificate import make_certificate
from tests.support.secure_scene import SecureScene, honest_runner, secure_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


def certificate(at: Path, names: str = "IP:127.0.0.1") -> Tls:
    at.mkdir(exist_ok=True)
    make_certificate(at, names)
    return Tls(cert_file=str(at / "cert.pem"), key_file=str(at / "key.pem"))


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureScene]:
    at = tmp_path_factory.mktemp("broker-tls")
    tls = certificate(at / "tls")

    def make(at: Path, accounts: BrokerAccounts) -> EmbeddedServer:
        return EmbeddedServer(at, sync_always=False, accounts=accounts, tls=tls, on_event=lambda _: None)

    async with secure_scene(at, make=make, nats_ca=tls.cert_file) as scene:
        yield scene


async def test_a_runner_believes_what_its_credential_names(scene: SecureScene) -> None:
    assert scene.broker.url.startswith("tls://")
    credential = await scene.credential("works")
    assert credential.ca == Path(scene.tmp_path / "tls" / "cert.pem").read_text()
    assert credential.nats == [scene.broker.url]
    async with honest_runner(scene, credential, StubExecutor(0.02)) as runner:
        job = await scene.submit(60, platforms=["linux-chromium"])
        # It comes back over TLS, with all that ran.
        assert isinstance(scene.broker, EmbeddedServer)
        os.kill(scene.broker.pid, signal.SIGKILL)
        assert (await scene.finished(job.id)).counts.ok == 60
    assert runner.link.nc.stats["reconnects"] == 1


async def test_a_revoked_runner_is_cut(scene: SecureScene) -> None:
    credential = await scene.credential("revoked")
    async with _reached(scene, credential) as nc:
        began = time.monotonic()
        await scene.enrolment.revoke("revoked", "test")
        await eventually(lambda: nc.is_closed, 2, what="cut")
        assert time.monotonic() - began < 2


async def test_a_broker_of_another_certificate_is_not_believed(scene: SecureScene) -> None:
    credential = await scene.credential("careful")
    other = Path(certificate(scene.tmp_path / "other").cert_file).read_text()
    for ca in (other, ""):
        wrong = msgspec.structs.replace(credential, ca=ca)
        with pytest.raises(BrokerUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*right one.*--nats-ca"):
            async with _reached(scene, wrong, within=0.5):
                pass


async def test_an_authority_is_enough_and_names_are_looked_at(tmp_path: Path) -> None:
    for names, match in (("IP:127.0.0.1", None), ("DNS:nats-1", "not valid for '127.0.0.1'")):
        at = tmp_path / names[:3]
        tls = certificate(at, names)
        keyring = Keyring.load_or_make(at / "keys")
        accounts = broker_accounts(keyring)
        async with EmbeddedServer(at / "broker", accounts=accounts, tls=tls, sync_always=False) as broker:
            tied = pinned(Path(tls.cert_file).read_text())
            login = BrokerLogin.of_orchestrator(keyring, "x")
            # Addresses of nats:// talk TLS too, where the broker does.
            for url in (broker.url, broker.url.replace("tls:", "nats:")):
                with pytest.raises(BrokerUnavailable, match=match) if match else nullcontext():
                    nc = await connection.connect(
                        url, name="x", login=login, tls=tied, timeout=0.5 if match else 5
                    )
                    await connection.leave(nc)
            # Orchestrators beside the broker know it by its certificate, whatever name that is made out to.
            config = OrchestratorConfig(
                nats=broker.url, secure=True, keys_dir=str(at / "keys"), port=0, nats_ca=tls.cert_file
            )
            async with Orchestrator(config) as orchestrator:
                assert orchestrator.url


async def test_nothing_is_said_in_the_clear(scene: SecureScene) -> None:
    """Neither does the broker take it, nor does a client say anything to who says that it need not be TLS."""
    port = urlsplit(scene.broker.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert b'"tls_required":true' in await reader.readline()
    writer.write(b'CONNECT {"verbose":true}\r\nPING\r\n')
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()

    heard = b""

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        info = {"server_id": "x", "version": "2.15.1", "max_payload": 1 << 20, "auth_required": True}
        writer.write(b"INFO " + json.dumps({**info, "nonce": "abc"}).encode() + b"\r\n")
        heard += await reader.read()
        writer.close()

    credential = await scene.credential("tricked")
    async with await asyncio.start_server(impostor, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for tls in (None, credential.tls()):
            with pytest.raises(BrokerUnavailable, match="does not talk TLS"):
                await connection.connect(
                    f"tls://127.0.0.1:{port}", name="x", login=credential.login(), tls=tls, timeout=0.5
                )
    assert heard == b""


def _reached(
    scene: SecureScene, credential: RunnerCredential, within: float = 5
) -> AbstractAsyncContextManager[Client]:
    return connection.connected(
        scene.broker.url,
        name="x",
        login=credential.login(),
        tls=credential.tls(),
        timeout=within,
        on_error=lambda _: None,
    )
