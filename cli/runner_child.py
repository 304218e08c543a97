"""A runner as a child process: started again when it dies, ended with its parent."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from broker_config import guard
from broker_config.errors import TrafficBusterError

log = logging.getLogger(__name__)

#: A runner that lived this long was well: the count of deaths in a row starts again, s.
STEADY = 30.0
MAX_DEATHS = 5
EXIT_RESTART = 75
#: Its credential was revoked, or its time is over: it would not be let in again.
EXIT_ENDED = 76


class RunnerFailed(TrafficBusterError):
    """The runner does not start, or dies again and again."""


class RunnerChild:
    """`run` keeps the runner alive until cancelled, then drains it within `grace` seconds.

    `hurry` cuts the drain short. The child writes its log to `log_file`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log_file: Path,
        *,
        grace: float,
        hurry: asyncio.Event,
        say: Callable[[str], None],
    ) -> None:
        self._arguments = list(arguments)
        self._log_file = log_file
        self._grace = grace
        self._hurry = hurry
        self._say = say
        self.process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Raises `RunnerFailed` when the runner cannot be kept alive."""
        clock = asyncio.get_running_loop().time
        deaths = 0
        try:
            while True:
                began = clock()
                code = await (await self._start()).wait()
                if code == EXIT_RESTART:
                    continue
                if code == EXIT_ENDED:
                    self._say("the runner of this machine is let in no more: its credential has ended")
                    return
                deaths = 1 if clock() - began > STEADY else deaths + 1
                if deaths >= MAX_DEATHS or code in (2, 4):
                    raise RunnerFailed(f"the runner ended with exit code {code}:\n{self._last_lines()}")
                self._say(f"the runner died (exit code {code}); starting it again")
                await asyncio.sleep(min(5.0, 0.2 * 2**deaths))
        finally:
            await self._stop()

    async def _start(self) -> asyncio.subprocess.Process:
        command = guard.command([sys.executable, "-m", "cli.tb_runner", "start", *self._arguments])
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE if "watch" in command[:5] else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **_apart(),
            )
        return self.process

    async def _stop(self) -> None:
        process = self.process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        ended = asyncio.ensure_future(process.wait())
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({ended, hurry}, timeout=self._grace + 5, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                with suppress(ProcessLookupError):
                    process.terminate()  # told twice, it hands back what runs
                await asyncio.wait({ended}, timeout=5)
        finally:
            hurry.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await ended

    def _last_lines(self, count: int = 8) -> str:
        try:
            with self._log_file.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 8192))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in lines[-count:])


def _apart() -> dict[str, Any]:
    """Away from the terminal's Ctrl-C: the parent ends the runner in its own order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
