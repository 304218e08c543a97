"""`tb up`: what survives a restart, what is refused, and what a kill leaves."""

from __future__ import annotations

import signal
import stat
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.site import Site
from tests.support.waiting import eventually

from .machine import Machine, Program, offered


def up(machine: Machine, data: Path, web: int, nats: int, *more: str) -> AbstractAsyncContextManager[Program]:
    ports = ("--port", str(web), "--nats-port", str(nats), *more)
    return machine.running(
        "--log-level",
        "warning",
        "up",
        "--data-dir",
        str(data),
        *ports,
        "--browser",
        "chromium",
        "--slots",
        "2",
    )


async def offers(server: str) -> None:
    """Wait until a runner is online."""
    await eventually(lambda: offered(server), 20, what="a runner is online", interval=0.1)


async def test_its_log_is_in_a_file_and_on_the_terminal_only_if_wanted(
    machine: Machine, tmp_path: Path
) -> None:
    web, nats = free_ports(2)
    data = tmp_path / "data"
    for verbose in ((), ("--verbose",)):
        arguments = (
            "up",
            "--data-dir",
            str(data),
            "--port",
            str(web),
            "--nats-port",
            str(nats),
            "--no-runner",
        )
        async with machine.running(*arguments, *verbose) as program:
            await program.said("Ctrl-C ends it")
            assert (" INFO " in program.words) is bool(verbose)
            program.signal(signal.SIGTERM)
            assert await program.ended(15) == 0
        await machine.empty()
    assert " INFO " in (data / "orchestrator.log").read_text()
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "nats").stat().st_mode) == 0o700


async def test_a_restart_finds_its_jobs_again(machine: Machine, site: Site, tmp_path: Path) -> None:
    web, nats = free_ports(2)
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    job = ("--url", f"{site.url}/", "--sessions", "3", "--vus", "2", "--dwell", "0s", "--name", "kept")
    async with up(machine, data, web, nats) as first:
        assert await first.said("TrafficBuster serves") == server
        done = await machine.tb("--server", server, "jobs", "submit", *job, "--watch", "--json", within=30)
        assert (done.code, done.row["counts"]["ok"]) == (0, 3), done.err
        first.signal(signal.SIGTERM)
        assert await first.ended(15) == 0
        assert first.words.endswith("ended\n")
        await machine.empty()
    async with up(machine, data, web, nats) as second:
        await second.said("TrafficBuster serves")
        listed = await machine.tb("--server", server, "jobs", "list", "--json")
        assert [(r["id"], r["name"], r["verdict"]) for r in listed.rows] == [
            (done.row["job"], "kept", "passed")
        ]
        audit = await machine.tb("--server", server, "jobs", "audit", done.row["job"])
        assert (audit.code, "agrees" in audit.out) == (0, True)
        await second.said("a runner is ready")
        second.interrupt()
        assert await second.ended(15) == 0
    await machine.empty()


async def test_the_runner_is_started_again_and_a_second_up_is_refused(
    machine: Machine, tmp_path: Path
) -> None:
    web, nats, other_web, other_nats = free_ports(4)
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    async with up(machine, data, web, nats) as first:
        await first.said("TrafficBuster serves")
        await offers(server)
        (runner,) = first.children("cli.tb_runner start")
        machine.processes()
        runner.kill()
        await first.said("the runner died (exit code -9); starting it again")
        (again,) = await eventually(lambda: first.children("cli.tb_runner start"), 10)
        assert again.pid != runner.pid
        await eventually(lambda: first.children("chrom"), 15, what="the new runner starts its browser")
        await offers(server)

        async with up(machine, data, other_web, other_nats) as same_data:
            assert await same_data.ended(15) == 4
            assert f"data directory {data / 'nats'} is in use by process {first.pid}" in same_data.words
        async with up(machine, tmp_path / "other", web, other_nats) as same_port:
            assert await same_port.ended(15) == 2
            assert f"127.0.0.1:{web}: the port is in use" in same_port.words
        async with up(machine, tmp_path / "third", other_web, nats) as same_nats:
            assert await same_nats.ended(15) == 4
            assert f"port {nats}, for the broker, is taken" in same_nats.words
        for refused in (same_data, same_port, same_nats):
            assert "Traceback" not in refused.words
            assert refused.words.count("\n") <= 2, refused.words
        assert (await machine.tb("--server", server, "platforms")).code == 0
        first.interrupt()
        assert await first.ended(15) == 0
    await machine.empty()


async def test_a_kill_leaves_no_process(machine: Machine, site: Site, tmp_path: Path) -> None:
    web, nats = free_ports(2)
    server = f"http://127.0.0.1:{web}"
    async with up(machine, tmp_path / "data", web, nats) as running:
        await running.said("TrafficBuster serves")
        job = ("--url", f"{site.url}/held", "--sessions", "2", "--vus", "2")
        submitted = await machine.tb("--server", server, "jobs", "submit", *job)
        assert submitted.code == 0, submitted.err
        await site.asked("/held", 1, 20)
        names = " ".join(p.name() for p in machine.processes())
        assert "nats-server" in names
        assert "chrom" in names
        running.signal(signal.SIGKILL)
        assert await running.ended(5) == -signal.SIGKILL
        await machine.empty(within=5)


async def test_a_cluster_of_three_loses_a_node_and_no_session(
    machine: Machine, site: Site, tmp_path: Path
) -> None:
    (web,) = free_ports(1)
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    job = ("--url", f"{site.url}/", "--sessions", "20", "--vus", "2", "--dwell", "100ms", "--json")
    async with up(machine, data, web, 0, "--cluster", "3") as running:
        await running.said("TrafficBuster serves", 40)
        await offers(server)
        nodes = [p for p in machine.processes() if "nats-server" in p.name()]
        assert len(nodes) == 3
        submitted = await machine.tb("--server", server, "jobs", "submit", *job)
        id = submitted.row["job"]["id"]
        nodes[0].kill()
        done = await machine.tb("--server", server, "jobs", "watch", id, "--json", within=60)
        assert done.code == 0, done.err
        assert done.rows[-1]["counts"]["ok"] == 20
        audit = await machine.tb("--server", server, "jobs", "audit", id)
        assert (audit.code, "agrees" in audit.out) == (0, True), audit.out
        running.interrupt()
        assert await running.ended(30) == 0
    await machine.empty()
