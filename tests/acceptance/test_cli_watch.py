"""Watching a job: interrupted, and over a server that goes and comes back. The doctor beside it."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.site import Site

from .machine import Machine


async def test_ctrl_c_leaves_the_job_or_cancels_it_and_a_lost_server_is_waited_for(
    machine: Machine, site: Site, tmp_path: Path
) -> None:
    web, nats = free_ports(2)
    server = f"http://127.0.0.1:{web}"
    start = (
        *("--log-level", "warning", "up", "--data-dir", str(tmp_path / "data"), "--port", str(web)),
        *("--nats-port", str(nats), "--browser", "chromium", "--slots", "2"),
    )

    async def state(job: str) -> str:
        shown = await machine.tb("jobs", "show", job, "--json", TB_SERVER=server)
        return str(shown.row["job"]["state"])

    async with machine.running(*start) as up:
        await up.said("TrafficBuster serves")
        examined = await machine.tb("doctor", "--no-start", "--json", TB_SERVER=server, TB_PORT=str(web))
        found = {f["name"]: f for f in examined.rows}
        assert found["server"]["state"] == "ok", found
        assert "an orchestrator" in found[f"port {web}"]["found"], found

        held = ("jobs", "submit", "--url", f"{site.url}/held", "--sessions", "4", "--vus", "1", "--watch")
        async with machine.running(*held, TB_SERVER=server) as first:
            job = await first.said("job ")
            await first.said("running 1", 20)
            first.interrupt()
            assert await first.ended(10) == 3
            assert f"tb jobs watch {job} comes back" in first.words
            assert "Traceback" not in first.words
        assert await state(job) == "running"

        async with machine.running("jobs", "watch", job, "--cancel-on-interrupt", TB_SERVER=server) as second:
            await second.said("running ")
            second.interrupt()
            assert await second.ended(15) == 3
            assert "the job is cancelled" in second.words
            assert "Traceback" not in second.words
        again = await machine.tb("jobs", "watch", job, "--json", TB_SERVER=server, within=15)
        assert (again.code, again.row["verdict"]) == (3, "aborted")

        waits = ("jobs", "submit", "--url", f"{site.url}/", "--sessions", "1", "--platform", "windows-msedge")
        async with machine.running(*waits, "--watch", TB_SERVER=server) as third:
            job = await third.said("job ")
            await third.said("waiting for windows-msedge")
            up.signal(signal.SIGKILL)
            await third.said("trying again")
            async with machine.running(*start) as restarted:
                await restarted.said("TrafficBuster serves")
                ended = await machine.tb("jobs", "cancel", job, TB_SERVER=server)
                assert ended.code == 0, ended.err
                assert await third.ended(20) == 3
                assert "aborted" in third.words
                restarted.signal(signal.SIGTERM)
                assert await restarted.ended(15) == 0
    await machine.empty(within=5)


async def test_the_shop_alone(machine: Machine) -> None:
    (port,) = free_ports(1)
    async with machine.running("demo-shop", "--port", str(port)) as shop:
        assert (await shop.said("the demo shop is at ")).startswith(f"http://127.0.0.1:{port}")
        shop.interrupt()
        assert await shop.ended(5) == 0
    await machine.empty()
