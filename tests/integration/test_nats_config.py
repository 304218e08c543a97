"""`tb nats config`: real nats-servers with its files let an orchestrator in, and no stranger."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker_config import connection, monitor
from broker_config.broker_login import BrokerLogin
from broker_config.duration import Duration
from broker_config.enrolment import InviteOrder
from broker_config.errors import BrokerRefused
from broker_config.keyring import Keyring
from broker_config.runner_credential import pinned
from broker_config.server_binary import find_server
from broker_config.streams import PROGRESS
from cli.tb import app
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from tests.support.certificate import make_certificate
from tests.support.ports import free_ports
from tests.support.waiting import eventually


def config(keys: Path, out: Path, *flags: object) -> tuple[int, str]:
    words = ["nats", "config", "--keys", str(keys), "--out", str(out), *map(str, flags)]
    found = CliRunner().invoke(app, words)
    assert "Traceback" not in found.output
    return found.exit_code, found.output


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    Keyring.new().save(tmp_path / "keys")
    return tmp_path / "keys"


@asynccontextmanager
async def served(*files: Path) -> AsyncIterator[None]:
    """Inside it a nats-server runs by each file, with a port of its own for monitoring."""
    ports = free_ports(len(files))
    async with AsyncExitStack() as stack:
        for file, port in zip(files, ports, strict=True):
            process = await asyncio.create_subprocess_exec(
                *(str(find_server()), "-c", str(file), "-m", str(port)), stderr=asyncio.subprocess.DEVNULL
            )
            stack.push_async_callback(process.wait)
            stack.callback(process.terminate)
        for port in ports:
            await eventually(partial(monitor.healthy, port), 20, what="nats-server is healthy")
        yield


async def test_one_node_lets_in_those_with_its_keys_alone(keys: Path, tmp_path: Path) -> None:
    (port,), out = free_ports(1), tmp_path / "broker"
    code, said = config(keys, out, "--nats-port", port, "--store", tmp_path / "store")
    assert code == 0
    assert f"--secure --keys {keys} --nats nats://127.0.0.1:{port}" in said
    assert stat.S_IMODE((out / "nats.conf").stat().st_mode) == 0o600
    url = f"nats://127.0.0.1:{port}"
    async with served(out / "nats.conf"):
        for login in (None, BrokerLogin.of_orchestrator(Keyring.new(), "stranger")):
            with pytest.raises(BrokerRefused):
                await connection.connect(url, name="stranger", login=login, timeout=2)
        settings = OrchestratorConfig(nats=url, secure=True, keys_dir=str(keys), port=0)
        async with Orchestrator(settings) as orchestrator:
            made = await orchestrator.enrolment.invite(InviteOrder(ttl=Duration(60)), "test")
            assert made.token


async def test_three_nodes_talk_tls_with_clients_and_with_each_other(keys: Path, tmp_path: Path) -> None:
    hosts = [f"127.0.0.{n}" for n in (1, 2, 3)]
    folder = make_certificate(tmp_path, ",".join(f"IP:{host}" for host in hosts))
    cert = folder / "cert.pem"
    (port, nodes), out = free_ports(2), tmp_path / "broker"
    tls = ("--tls-cert", cert, "--tls-key", folder / "key.pem", "--node-ca", cert)
    where = ("--nats-port", port, "--store", tmp_path / "store", *(w for h in hosts for w in ("--node", h)))
    code, said = config(keys, out, *where, *tls)
    url = ",".join(f"tls://{host}:{port}" for host in hosts)
    assert (code, f"--nats {url} --replicas 3" in said) == (0, True), said
    files = sorted(out.iterdir())
    assert [(f.name, stat.S_IMODE(f.stat().st_mode)) for f in files] == [
        (f"cluster-{n}.conf", 0o600) for n in (1, 2, 3)
    ]
    for n, file in enumerate(files, 1):
        # On one machine: a port that others do not use, and a place of its own for each node.
        text = file.read_text().replace("6222", str(nodes))
        file.write_text(text.replace(str(tmp_path / "store"), str(tmp_path / f"store-{n}")))
    async with served(*files):
        context = pinned(cert.read_text())
        with pytest.raises(BrokerRefused):
            await connection.connect(url, name="stranger", tls=context, timeout=2)
        settings = OrchestratorConfig(
            nats=url, secure=True, keys_dir=str(keys), nats_ca=str(cert), replicas=3, port=0
        )
        async with Orchestrator(settings):
            login = BrokerLogin.of_orchestrator(Keyring.load(keys), "test")
            async with connection.connected(url, name="test", login=login, tls=context) as nc:
                info = await nc.jetstream().stream_info(PROGRESS.name)
        assert info.cluster is not None
        assert len(info.cluster.replicas or []) == 2


def test_what_would_leave_it_open_or_broken_is_refused(keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    tls = ("--tls-cert", "/c.pem", "--tls-key", "/k.pem")
    three = ("--node", "a", "--node", "b", "--node", "c")
    for flags, words in (
        (("--node", "0.0.0.0"), "takes TLS"),
        (("--node", "a", "--tls-cert", "/c.pem"), "belong together"),
        ((*three, *tls), "--node-ca"),
        (("--node", "a", "--node", "b"), "one host, or three"),
        (("--node", "a", "--node", "a", "--node", "b", *tls), "one host, or three"),
        (("--nats-port", "0"), "--nats-port 0"),
    ):
        code, said = config(keys, out, *flags)
        assert (code, words in said) == (2, True), said
    assert config(tmp_path / "none", out)[0] == 2
    assert not out.exists()
    assert config(keys, out)[0] == 0
    before = (out / "nats.conf").read_text()
    code, said = config(keys, out)
    assert (code, "is there already" in said) == (2, True)
    assert (out / "nats.conf").read_text() == before
