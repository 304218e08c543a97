"""Starts `tests.support.runner_process` and ends it, whatever the test does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.waiting import eventually


class Event(NamedTuple):
    """A line of a journal; `at` is CLOCK_MONOTONIC, the same for all processes of the machine."""

    event: str
    job: str
    session: int
    attempt: int
    at: float
    pid: int


class RunnerProcess:
    def __init__(self, process: asyncio.subprocess.Process, name: str, journal: Path, log: Path) -> None:
        self._process = process
        self.name = name
        self._journal = journal
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    def events(self, kind: str) -> list[Event]:
        if not self._journal.exists():
            return []
        rows = (Event(*json.loads(line)) for line in self._journal.read_text().splitlines())
        return [row for row in rows if row.event == kind]

    async def seen(self, kind: str, count: int = 1, within: float = 10.0) -> list[Event]:
        """Wait for so many events of a kind."""
        what = f"{count} × {kind} of {self.name}"
        await eventually(lambda: len(self.events(kind)) >= count, within, what=what)
        return self.events(kind)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, within: float = 10.0) -> int:
        """Wait for the exit code."""
        async with asyncio.timeout(within):
            return await self._process.wait()


@asynccontextmanager
async def runner_process(
    url: str, directory: Path, name: str, *arguments: str, data: str = ""
) -> AsyncIterator[RunnerProcess]:
    """A runner; `data` names its data directory (by default one of its own). Killed at the end if need be."""
    journal, log = directory / f"{name}.journal", directory / f"{name}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.runner_process", "--nats", url, "--name", name),
            *("--data-dir", str(directory / (data or name)), "--journal", str(journal), *arguments),
            stdout=out,
            stderr=out,
        )
    try:
        yield RunnerProcess(process, name, journal, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
