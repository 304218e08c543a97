"""One process of a campaign: started again whenever it dies, killed, stopped and continued at will."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path


class Process:
    """`keep` starts it again until cancelled, and kills it then."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: list[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._environment = dict(environment or {})
        self.log = directory / f"{name}.log"
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self.starts = 0
        #: Stretches in which it was stopped, on the machine's monotonic clock.
        self.frozen: list[tuple[float, float]] = []
        #: Given to the next start only: where that process shall kill itself.
        self.fail_at = ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return self._process.pid if self._process is not None and self.alive else 0

    async def keep(self) -> None:
        try:
            while True:
                env = os.environ | self._environment
                env["FAIL_AT"], self.fail_at = self.fail_at, ""
                with self.log.open("ab") as out:
                    self._process = await asyncio.create_subprocess_exec(
                        *self._command, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL, env=env
                    )
                self.starts += 1
                await self._process.wait()
                await asyncio.sleep(0.1)
        finally:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            if self._process is not None:
                await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        if self._stopped:
            return
        self._stopped = True
        began = time.monotonic()
        self.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._stopped = False
            self.signal(signal.SIGCONT)
            self.frozen.append((began, time.monotonic()))
