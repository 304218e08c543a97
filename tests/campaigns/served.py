"""`tb up` as a process of its own, for campaigns that attack what it serves."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = {f"TB_{what}_LIMIT": "0" for what in ("API", "SUBMIT", "SOCKET", "LOGIN")}
_SERVES = re.compile(r"serves (http://\S+)")


@dataclass(frozen=True)
class Served:
    """`url` without a path; `token` is its admin credential; `log` all that it printed."""

    url: str
    token: str
    process: asyncio.subprocess.Process
    log: Path

    def tracebacks(self) -> int:
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)")


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Served]:
    """Broker and orchestrator, without a runner and without limits of rates; ended by SIGTERM."""
    log = directory / "up.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.tb", "up", "--no-runner", "--port", "0", "--nats-port", "0"),
            *("--data-dir", str(directory / "data")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | _UNLIMITED,
        )
    try:
        async with asyncio.timeout(30):
            while not (found := _SERVES.search(log.read_text(errors="replace"))):
                if process.returncode is not None:
                    raise AssertionError(f"it ended: {log.read_text(errors='replace')}")
                await asyncio.sleep(0.05)
        token = (directory / "data" / "admin.token").read_text().strip()
        yield Served(found[1], token, process, log)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
