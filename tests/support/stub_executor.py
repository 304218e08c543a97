"""An executor with a timer in place of a browser."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from broker_config.grant import Grant
from broker_config.messages import Dispatch, ErrorInfo, Measures, PlatformOffer
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.gate.event import OnEvent, log_event
from runner.work.executor import Say

#: Of a dispatch, how its session ends; `None` for ok.
Play = Callable[[Dispatch], ErrorInfo | None]


class StubExecutor:
    """Each session takes `seconds` (a number, or a function of the dispatch; None is for ever).

    What happens is kept in `events` as `(event, job, session, attempt, lease clock)` with the events
    `start`, `end` and `cancel`, and appended to the file `journal` as JSON lines, if there is one.
    """

    def __init__(
        self,
        seconds: float | Callable[[Dispatch], float | None] | None = 0.0,
        *,
        platforms: Sequence[str] = ("linux-chromium",),
        play: Play = lambda dispatch: None,
        journal: Path | None = None,
    ) -> None:
        self._seconds = seconds
        self._platforms = [PlatformOffer(platform=p, browser_version="stub") for p in platforms]
        self._play = play
        self._journal = journal.open("a", buffering=1) if journal else None
        self.events: list[tuple[str, str, int, int, float]] = []
        self.on_egress: OnEvent = log_event
        self.contact = ""
        self.renewed: list[Grant] = []
        self.active = 0
        self.most_active = 0
        self.closed = False
        #: What was cut, and how often it was held and let go.
        self.cut_jobs: list[str] = []
        self.holds: list[bool] = []

    @property
    def platforms(self) -> Sequence[PlatformOffer]:
        return self._platforms

    async def start(self) -> None:
        pass

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        seconds = self._seconds(dispatch) if callable(self._seconds) else self._seconds
        self._note("start", dispatch)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        began = time.monotonic()
        try:
            if seconds is None:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._note("cancel", dispatch)
            raise
        finally:
            self.active -= 1
        self._note("end", dispatch)
        duration = 1000 * (time.monotonic() - began)
        error = self._play(dispatch)
        if error is not None:
            return Outcome(status="failed", duration_ms=duration, error=error)
        return Outcome(status="ok", duration_ms=duration, measures=Measures(http_status=200, load=duration))

    def cut(self, job: str) -> None:
        self.cut_jobs.append(job)

    def renew(self, grant: Grant) -> None:
        self.renewed.append(grant)

    def hold(self, held: bool) -> None:
        self.holds.append(held)

    async def close(self) -> None:
        self.closed = True

    def seen(self, event: str) -> list[tuple[int, int]]:
        """`(session, attempt)` of all such events."""
        return [(session, attempt) for e, _, session, attempt, _ in self.events if e == event]

    def _note(self, event: str, d: Dispatch) -> None:
        row = (event, d.job, d.session, d.attempt, time.monotonic())
        if self._journal is None:
            self.events.append(row)
        else:
            self._journal.write(json.dumps([*row, os.getpid()]) + "\n")
