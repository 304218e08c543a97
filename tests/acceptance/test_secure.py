"""`tb up --secure`: runners join by invite, and are cut when they are revoked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.site import Site
from tests.support.waiting import eventually

from .machine import RUNNER, Machine, offered


@pytest.mark.parametrize("cluster", ["1", "3"])
async def test_a_runner_joins_works_and_is_revoked(
    machine: Machine, site: Site, tmp_path: Path, cluster: str
) -> None:
    (web,) = free_ports(1)
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    flags = ("--data-dir", str(data), "--port", str(web), "--nats-port", "0", "--cluster", cluster)
    up = machine.running("--log-level", "warning", "up", "--secure", *flags, "--no-runner")
    async with up as running:
        await running.said("TrafficBuster serves", 40)
        invite = await machine.tb("--server", server, "runners", "invite", "--ttl", "5m", "--pool", "gold")
        assert invite.code == 0, invite.err
        assert f"tb-runner start --join-token-file join.token --server {server}" in invite.err
        token, at = tmp_path / "join.token", tmp_path / "joined"
        token.write_text(invite.out)
        start = ("start", "--data-dir", str(at), "--name", "second", "--browser", "chromium", "--slots", "2")
        join = ("--join-token-file", str(token), "--server", server)
        async with machine.running(*start, *join, module=RUNNER) as runner:
            await runner.said("runner second is registered", 20)
            assert stat.S_IMODE((at / "credential.json").stat().st_mode) == 0o600
            await eventually(lambda: offered(server), 20, what="a runner is online", interval=0.1)
            job = ("--url", f"{site.url}/", "--sessions", "4", "--vus", "2", "--dwell", "0s")
            submit = ("--server", server, "jobs", "submit", *job, "--pool", "gold", "--watch", "--json")
            done = await machine.tb(*submit, within=40)
            assert (done.code, done.row["counts"]["ok"]) == (0, 4), done.err
            runner.interrupt()
            assert await runner.ended(15) == 0
        # The token is spent; the runner has no more use for it.
        token.unlink()
        async with machine.running(*start, module=RUNNER) as runner:
            await runner.said("runner second is registered", 20)
            revoked = await machine.tb("--server", server, "runners", "revoke", "second")
            assert revoked.code == 0, revoked.err
            assert await runner.ended(5) == 76
            assert "ended this runner's credential (user authentication revoked)" in runner.words
        token.write_text(invite.out)
        async with machine.running(*start, *join, module=RUNNER) as runner:
            assert await runner.ended(15) == 76
            assert "tb-runner leave" in runner.words
        async with machine.running("leave", "--data-dir", str(at), module=RUNNER) as left:
            assert await left.ended(5) == 0
        async with machine.running(*start, *join, module=RUNNER) as runner:
            assert await runner.ended(15) == 4
            assert "the join token is not valid" in runner.words
            assert "Traceback" not in runner.words
        running.interrupt()
        assert await running.ended(30) == 0
    await machine.empty()
