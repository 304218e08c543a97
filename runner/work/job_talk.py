"""`job.log`: what happens in sessions, told live. Best effort: nobody waits for it, nothing is kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, NoReturn

from broker_config import codec
from broker_config.messages import Dispatch, JobLog
from broker_config.messages.log import LogEvent
from broker_config.subjects import job_log

from .link import Link

Level = Literal["debug", "info", "warning", "error"]

#: Lines that wait for the connection to take them; the oldest are dropped.
MAX_WAITING = 2_000
MAX_TEXT = 500


class JobTalk:
    """`run` publishes until cancelled; `say` only queues."""

    def __init__(self, link: Link, runner: str, *, clock: Callable[[], float]) -> None:
        self._link = link
        self._runner = runner
        self._clock = clock
        self._waiting: deque[JobLog] = deque(maxlen=MAX_WAITING)
        self._some = asyncio.Event()

    def say(self, dispatch: Dispatch, event: LogEvent, text: str = "", level: Level = "info") -> None:
        if not self._link.is_up:
            return
        self._waiting.append(
            JobLog(
                job=dispatch.job,
                runner=self._runner,
                session=dispatch.session,
                attempt=dispatch.attempt,
                at=self._clock(),
                event=event,
                level=level,
                text=text[:MAX_TEXT],
                platform=dispatch.platform,
            )
        )
        self._some.set()

    async def run(self) -> NoReturn:
        while True:
            await self._some.wait()
            self._some.clear()
            await self.flush()

    async def flush(self) -> None:
        while self._waiting:
            line = self._waiting.popleft()
            await self._link.send(job_log(line.job, self._runner), codec.encode(line))
