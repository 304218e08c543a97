"""`tb` and `tb-runner` as processes, with a home of their own, and an eye on all that they start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from cli import credentials
from cli.client import Client
from tests.support.waiting import eventually

from .commands import Commands

TB, RUNNER = "cli.tb", "cli.tb_runner"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self) -> Any:
        (row,) = self.rows
        return row


class Program:
    """A process that goes on running; it leads a process group, as in a terminal."""

    def __init__(self, machine: Machine, process: asyncio.subprocess.Process, log: Path) -> None:
        self._machine = machine
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def words(self) -> str:
        """All that it has written so far."""
        return self._log.read_text()

    async def said(self, text: str, within: float = 15.0) -> str:
        """Wait for a line that holds `text`; returns what follows it on that line."""

        def line() -> str:
            if not self.runs and text not in self.words:
                raise AssertionError(f"ended before it said {text!r}:\n{self.words}")
            complete = self.words.rpartition("\n")[0].splitlines()
            return next((found for found in complete if text in found), "")

        return (await eventually(line, within, what=f"{text!r} is said")).partition(text)[2].strip()

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    def interrupt(self) -> None:
        """Ctrl-C: the signal goes to the whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        self._machine.processes()
        self._process.send_signal(number)

    async def ended(self, within: float) -> int:
        """Wait for the exit code."""
        try:
            async with asyncio.timeout(within):
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"still runs after {within:g} s:\n{self.words}") from None

    def children(self, text: str) -> list[psutil.Process]:
        """Processes below it whose command line holds `text`."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if text in " ".join(child.cmdline()):
                        found.append(child)
        return found


class Machine:
    """Home, settings and temporary files under `root`. What is started here is known by a mark.

    In `bytecode` compiled modules are kept: without them each command would compile all that it imports.
    `commands` runs those that come to an end; without it each starts from nothing. `enter` stands before each
    command, to run it in a network of its own.
    """

    def __init__(
        self, root: Path, bytecode: Path, commands: Commands | None = None, *, enter: Sequence[str] = ()
    ) -> None:
        self.root = root
        self._enter = list(enter)
        self._bytecode = bytecode
        self._commands = commands
        self.temporary = root / "tmp"
        self.temporary.mkdir(parents=True)
        self._mark = f"TB_TEST_MARK={uuid.uuid4().hex}"
        self._seen: dict[int, psutil.Process] = {}

    def environ(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TB_") or k == "TB_BROWSER"}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        name, value = self._mark.split("=")
        places = {
            "PYTHONPYCACHEPREFIX": str(self._bytecode),
            "TMPDIR": str(self.temporary),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_STATE_HOME": str(self.root / "state"),
        }
        return kept | places | {name: value} | more

    async def tb(
        self,
        *arguments: str,
        stdin: str = "",
        within: float = 20.0,
        module: str = TB,
        anew: bool = False,
        **environ: str,
    ) -> Result:
        """Run a command to its end; `anew` where its process itself is looked at, not what it does."""
        if self._commands and not anew and not self._enter:
            async with asyncio.timeout(within):
                code, written, said = await self._commands.run(
                    module, arguments, stdin.encode(), self.environ(**environ)
                )
            return Result(code, written.decode(), said.decode())
        process = await asyncio.create_subprocess_exec(
            *(*self._enter, sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ(**environ),
        )
        try:
            async with asyncio.timeout(within):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(self, *arguments: str, module: str = TB, **environ: str) -> AsyncIterator[Program]:
        """A command that goes on; killed at the end if need be, and all that it started."""
        log = self.root / f"{uuid.uuid4().hex[:8]}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(*self._enter, sys.executable, "-m", module, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environ(**environ),
                start_new_session=True,
            )
        try:
            yield Program(self, process, log)
        finally:
            below = [process.pid, *(p.pid for p in self._below(process.pid))]
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await process.wait()

    def processes(self) -> list[psutil.Process]:
        """All that was started here and runs now: what bears the mark, what is below it, what ever was.

        Chromium's helpers bear no mark, and lose their parent when it is killed: those that a former call
        has seen are remembered.
        """
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                name, value = self._mark.split("=")
                if process.environ().get(name) == value:
                    self._seen[process.pid] = process
                    self._seen |= {p.pid: p for p in process.children(recursive=True)}
        return [p for p in self._seen.values() if _runs(p)]

    async def empty(self, within: float = 3.0) -> None:
        """Wait until nothing runs that was started here."""
        try:
            await eventually(lambda: not self.processes(), within, interval=0.1)
        except AssertionError:
            left = [f"{p.pid} {' '.join(p.cmdline())[:150]}" for p in self.processes()]
            raise AssertionError("left behind:\n" + "\n".join(left)) from None

    def clear(self) -> None:
        """Kill what is left, for the sake of the tests that follow."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _below(self, pid: int) -> list[psutil.Process]:
        try:
            return psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


async def offered(server: str) -> dict[str, tuple[int, int]]:
    """Slots and free slots by platform, without the cost of a command each time."""
    async with Client(server, token=credentials.find(server).secret) as client:
        return {p.platform: (p.slots, p.free) for p in (await client.platforms()).items}


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
