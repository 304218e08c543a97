"""What a tree of processes costs: CPU with those that have ended, memory with what is shared counted once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.benchmarks.session_cost import tree_cpu

from .under import below

UNDER = Path(__file__).with_name("under.py")
MIB = 1 << 20


class Tree:
    """A command and all that it has started."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> None:
        """Return when the command and all below it have ended."""
        await self._process.wait()

    @property
    def words(self) -> str:
        """The end of what it has written."""
        return self._log.read_text(errors="replace")[-1500:]

    def cpu(self) -> float:
        """CPU-seconds so far."""
        return tree_cpu(self._process.pid)

    def memory(self) -> float:
        """MiB now."""
        total = 0
        for pid in below(self._process.pid):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
        return total / MIB


@asynccontextmanager
async def tree(
    command: list[str], log: Path, environ: Mapping[str, str], directory: Path | None = None
) -> AsyncIterator[Tree]:
    """Start it; on the way out, and when this process dies, all of it is ended."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-E", str(UNDER), *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | dict(environ),
            cwd=directory,
        )
    try:
        yield Tree(process, log)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
