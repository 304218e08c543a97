"""A nats-server with JetStream as a child of this process: all of TrafficBuster from one command."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn, Self
from urllib.parse import urlsplit

from . import guard, monitor
from .data_lock import DataLock
from .errors import ServerNotStarted
from .operator_mode import BrokerAccounts
from .server_binary import find_server
from .server_config import Cluster, NodeConfig, Tls, render_node

logger = logging.getLogger(__name__)

#: A server that lived this long, seconds, was well: the count of deaths in a row starts again.
STEADY = 30.0
_LOG_BYTES = 8 << 20
#: Seconds between looks at a running server, and the free space, bytes, at which one that met a full disk is
#: started again.
_LOOK_EVERY = 5.0
_ROOM_TO_WRITE = 16 << 20


class EmbeddedServer:
    """An async context manager: inside it the server runs and answers.

    The server listens on loopback or `host`, on `port` or a free one, and keeps its port when it is
    restarted. With `accounts` it lets nobody in without a credential, with `tls` it talks nothing else. It
    survives Ctrl-C in the terminal but not this process, however that ends (strictly: on Linux, not the
    thread that entered the context). When it dies alone, it is started again, with growing pauses; after
    `max_deaths` in a row that is given up, and `watch` raises.

    `data_dir` is made if need be and belongs to one server at a time. `log_file` is `nats-server.log` in it
    by default. `on_event` gets a sentence about each death and restart.

    Entering raises `ServerNotStarted`: no nats-server, directory in use, port taken, not healthy in time.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        sync_always: bool = True,
        log_file: Path | None = None,
        on_event: Callable[[str], None] = logger.warning,
        name: str = "trafficbuster",
        cluster: Cluster | None = None,
        host: str = "127.0.0.1",
        accounts: BrokerAccounts | None = None,
        tls: Tls | None = None,
        binary: Path | None = None,
        start_timeout: float = 30.0,
        stop_timeout: float = 5.0,
        max_deaths: int = 5,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log_file = log_file or self.data_dir / "nats-server.log"
        #: How often the server was started again after it had died.
        self.restarts = 0
        self._port = port or -1
        self._monitor_port = -1
        self._sync_always = sync_always
        self._name = name
        self._cluster = cluster
        self._host = host
        self._accounts = accounts
        self._tls = tls
        self._binary = binary
        self._on_event = on_event
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._max_deaths = max_deaths
        self._run_dir = self.data_dir / "run"
        self._pid_file = self._run_dir / "pid"
        self._lock = DataLock(self.data_dir)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[NoReturn] | None = None

    @property
    def url(self) -> str:
        """Where clients on this machine connect."""
        return self.url_at("127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host)

    def url_at(self, host: str) -> str:
        """Where clients connect that know this machine as `host`."""
        scheme = "nats" if self._tls is None else "tls"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Where the server's monitoring answers (`/healthz`, `/varz`, `/jsz`)."""
        return f"http://127.0.0.1:{self._monitor_port}"

    @property
    def pid(self) -> int:
        """Process id of the server that runs now; 0 while none does."""
        if self._process is None or self._process.returncode is not None:
            return 0
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return 0

    async def __aenter__(self) -> Self:
        self._binary = self._binary or find_server()
        try:
            # Whoever could put files here would be the broker, whatever the umask says.
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            await self._lock.acquire()
        except OSError as e:
            raise ServerNotStarted(
                f"the data directory {self.data_dir} cannot be used: {e.strerror}; check its owner and free "
                "space, or give another directory (--data-dir)"
            ) from None
        try:
            await self._start()
        except BaseException:
            self._lock.release()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded nats-server")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.wait([self._supervisor])
                if not self._supervisor.cancelled():
                    # Retrieved, so that nobody is told twice: `on_event` has the failure.
                    self._supervisor.exception()
        finally:
            try:
                await self._stop()
            finally:
                self._lock.release()

    async def watch(self) -> NoReturn:
        """Wait while the server runs or is restarted; raises `ServerNotStarted` when that is given up."""
        if self._supervisor is None:
            raise RuntimeError("the embedded server was not started")
        await asyncio.shield(self._supervisor)

    async def _supervise(self) -> NoReturn:
        clock = asyncio.get_running_loop().time
        deaths = 0
        while True:
            process = self._process
            assert process is not None
            started = clock()
            code = await self._until_ended(process)
            deaths = 1 if clock() - started > STEADY else deaths + 1
            self._on_event(f"nats-server ended ({_how(code)}); starting it again")
            while True:
                if deaths >= self._max_deaths:
                    text = f"nats-server died {deaths} times in a row and is not started again"
                    failure = ServerNotStarted(f"{text}; the end of {self.log_file}:\n{self._last_lines()}")
                    self._on_event(str(failure))
                    raise failure
                await asyncio.sleep(min(2.0, 0.1 * 2 ** (deaths - 1)))
                try:
                    await self._start()
                    break
                except ServerNotStarted as e:
                    deaths += 1
                    self._on_event(str(e))
            self.restarts += 1
            self._on_event(f"nats-server runs again at {self.url}")

    async def _until_ended(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code. One that cannot write its streams is ended as soon as the disk has room again."""
        ended = asyncio.create_task(process.wait())
        try:
            while not (await asyncio.wait({ended}, timeout=_LOOK_EVERY))[0]:
                error = await monitor.write_error(self._monitor_port)
                if error and shutil.disk_usage(self.data_dir).free > _ROOM_TO_WRITE:
                    self._on_event(f"nats-server wrote no more, and the disk has room again: {error}")
                    await self._end(process)
            return ended.result()
        finally:
            ended.cancel()

    async def _start(self) -> None:
        assert self._binary is not None
        for left_over in (*self._run_dir.glob("*.ports"), self._pid_file):
            left_over.unlink(missing_ok=True)
        config = self.data_dir / "nats.conf"
        _write_private(config, render_node(self._config()))
        command = guard.command([str(self._binary), "-c", str(config)])
        with self._open_log() as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                # A pipe that nobody writes to: the guard notices that its other end closes.
                stdin=subprocess.PIPE if "watch" in command[:5] else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_apart(self._lock.fd),
            )
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._healthy(self._process)
        except TimeoutError:
            await self._stop()
            raise self._failure(f"is not healthy after {self._start_timeout:g} s") from None
        except BaseException:
            await self._stop()
            raise

    def _config(self) -> NodeConfig:
        return NodeConfig(
            name=self._name,
            data_dir=str(self.data_dir),
            host=self._host,
            port=self._port,
            monitor_port=self._monitor_port,
            sync_always=self._sync_always,
            cluster=self._cluster,
            accounts=self._accounts,
            tls=self._tls,
            log_file=str(self.log_file) if self._accounts is not None else None,
            ports_dir=str(self._run_dir),
            pid_file=str(self._pid_file),
        )

    async def _healthy(self, process: asyncio.subprocess.Process) -> None:
        pause = 0.02
        while not (self._ports_known() and await monitor.healthy(self._monitor_port)):
            try:
                # The pause ends at once when the server does.
                code = await asyncio.wait_for(process.wait(), pause)
            except TimeoutError:
                pause = min(0.25, pause * 1.5)
                continue
            raise self._failure(f"ended while it started ({_how(code)})")

    def _ports_known(self) -> bool:
        """Take the ports that the server chose from the file in which it names them."""
        for path in self._run_dir.glob("*.ports"):
            try:
                ports = json.loads(path.read_bytes())
                self._port = urlsplit(ports["nats"][0]).port or -1
                self._monitor_port = urlsplit(ports["monitoring"][0]).port or -1
            except (OSError, ValueError, LookupError):
                return False
            return True
        return False

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.terminate()
        try:
            async with asyncio.timeout(self._stop_timeout):
                await process.wait()
        except TimeoutError:
            self._on_event(f"nats-server did not end within {self._stop_timeout:g} s and is killed")
        finally:
            if process.returncode is None:
                process.kill()
        await process.wait()

    def _open_log(self) -> IO[bytes]:
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        return self.log_file.open("ab")

    def _failure(self, what: str) -> ServerNotStarted:
        return ServerNotStarted(f"nats-server {what}; the end of {self.log_file}:\n{self._last_lines()}")

    def _last_lines(self, count: int = 8) -> str:
        try:
            with self.log_file.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - 8192))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(f"  {line}" for line in lines[-count:])


def _write_private(path: Path, text: str) -> None:
    """It may hold the password of a cluster's nodes."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def _apart(lock_fd: int) -> dict[str, Any]:
    """Away from the terminal's signals; on Unix the server also holds the directory's lock."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True, "pass_fds": (lock_fd,)}


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
