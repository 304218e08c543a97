"""`tb up` that other machines reach: over a real network, from a machine beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificate import make_certificate
from tests.support.ports import free_ports
from tests.support.two_machines import HERE, Network, two_machines

from .commands import Commands
from .machine import RUNNER, Machine


@pytest.fixture
def networks() -> Iterator[tuple[Network, Network]]:
    with two_machines() as networks:
        yield networks


async def test_another_machine_joins_over_tls_and_strangers_do_not(
    networks: tuple[Network, Network], tmp_path: Path, bytecode: Path, forked: Commands
) -> None:
    here, there = (
        Machine(tmp_path / name, bytecode, forked, enter=network.enter)
        for name, network in zip(("here", "there"), networks, strict=True)
    )
    try:
        await _joined(here, there, networks[0], tmp_path)
        await here.empty()
        await there.empty()
    finally:
        here.clear()
        there.clear()


async def _joined(here: Machine, there: Machine, network: Network, tmp_path: Path) -> None:
    web, nats, at_site = free_ports(3)
    server, broker, site = f"https://{HERE}:{web}", f"tls://{HERE}:{nats}", f"http://127.0.0.1:{at_site}"
    # Made out to the address by which others know the machine, and to no other.
    make_certificate(tmp_path, f"IP:{HERE}")
    cert, data = str(tmp_path / "cert.pem"), tmp_path / "data"
    flags = ["--data-dir", str(data), "--port", str(web), "--nats-port", str(nats), "--slots", "1"]
    flags += ["--browser", "chromium", "--allowed-origin", site]
    opened = ["--host", "0.0.0.0", "--nats-host", "0.0.0.0"]
    refused = await here.tb("up", *flags, *opened)
    assert refused.code == 2, refused.err
    assert "--tls-cert" in refused.err
    tls = ["--tls-cert", cert, "--tls-key", str(tmp_path / "key.pem")]
    reach = ["--server", server, "--ca-file", cert]
    admin: dict[str, Any] = {"TB_TOKEN_FILE": str(data / "admin.token")}
    async with here.running("--log-level", "warning", "up", *flags, *opened, *tls) as up:
        await up.said("a runner is ready: linux-chromium", 40)
        assert network.open_ports() == {web, nats}
        invite = await here.tb(*reach, "runners", "invite", "--ttl", "5m", "--pool", "away", **admin)
        assert invite.code == 0, invite.err
        assert "--ca-file ca.pem" in invite.err
        token = tmp_path / "join.token"
        token.write_text(invite.out)
        start = ["start", "--data-dir", str(tmp_path / "joined"), "--name", "away", "--browser", "chromium"]
        start += ["--slots", "1", "--join-token-file", str(token), "--server", server]
        page = tmp_path / "page"
        page.mkdir()
        (page / "index.html").write_text("<!doctype html><title>t</title><p>ok")
        serve = ["--bind", "127.0.0.1", "--directory", str(page), str(at_site)]
        async with there.running(*serve, module="http.server"):
            blind = await there.tb(*start, module=RUNNER)
            assert blind.code == 2, blind.err
            assert "name its authority by --ca-file" in blind.err
            async with there.running(*start, "--ca-file", cert, module=RUNNER) as runner:
                await runner.said("runner away is registered", 20)
                job = ["--url", f"{site}/", "--sessions", "3", "--vus", "1", "--dwell", "0s"]
                submit = [*reach, "jobs", "submit", *job, "--pool", "away", "--watch", "--json"]
                done = await here.tb(*submit, within=40, **admin)
                assert (done.code, done.row["counts"]["ok"]) == (0, 3), done.err
                said = (await there.tb(server, broker, cert, module="tests.support.stranger")).row
                assert said["plain"] == "tls_required=True ''"
                assert said["nameless"].startswith("BrokerRefused")
                assert "CERTIFICATE_VERIFY_FAILED" in said["careful"]
                assert said["jobs"] == "401"
                assert said["http"] in ("RemoteProtocolError", "ReadError")
                revoked = await here.tb(*reach, "runners", "revoke", "away", **admin)
                assert revoked.code == 0, revoked.err
                assert await runner.ended(5) == 76
        up.interrupt()
        assert await up.ended(30) == 0
        assert "Traceback" not in up.words
