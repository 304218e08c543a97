"""The sessions that run now, and how to end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal

from broker_config.artifacts import ArtifactInfo
from broker_config.messages import Dispatch, RunningSession

from .lease_keeper import Held

#: Why a session is ended from outside: `cancelled` (its job, or it alone; by a kill too), `lease_lost`,
#: `handed_back` (the runner ends).
EndReason = Literal["cancelled", "lease_lost", "handed_back"]


class Run:
    """One session in a slot. `with run:` around the executor's call makes `end` cancel that call and nothing
    else; the block then ends without an error, and `reason` says why."""

    __slots__ = (
        "_asked",
        "_task",
        "began",
        "dispatch",
        "held",
        "kept",
        "left_out",
        "reason",
        "since",
        "start_error_ms",
    )

    def __init__(self, dispatch: Dispatch, held: Held, *, since: float, began: float) -> None:
        self.dispatch = dispatch
        self.held = held
        #: The beginning, on the wall clock and on the lease clock.
        self.since = since
        self.began = began
        #: How much after its time it began; None where it has none, or has not begun.
        self.start_error_ms: float | None = None
        self.reason: EndReason | None = None
        #: Artifacts that were stored, and how many were not.
        self.kept: list[ArtifactInfo] = []
        self.left_out = 0
        self._task: asyncio.Task[object] | None = None
        self._asked = False

    def begin(self, since: float, began: float, start_error_ms: float | None) -> None:
        """It has waited for its time until now."""
        self.since, self.began, self.start_error_ms = since, began, start_error_ms

    def end(self, reason: EndReason) -> None:
        """The first reason counts."""
        if self.reason is None:
            self.reason = reason
            if self._task is not None:
                self._asked = True
                self._task.cancel()

    def lease_lost(self) -> None:
        self.end("lease_lost")

    def __enter__(self) -> None:
        self._task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        others = task.uncancel() if self._asked else task.cancelling()
        return self._asked and kind is asyncio.CancelledError and others == 0


class Running:
    """All runs. `changed` is called when one begins or ends."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._runs: dict[int, Run] = {}
        self._changed = changed
        self.done = 0

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def add(self, run: Run) -> None:
        self._runs[id(run)] = run
        self._changed()

    def remove(self, run: Run) -> None:
        self._runs.pop(id(run), None)
        self.done += 1
        self._changed()

    def of(self, job: str, session: int | None = None) -> list[Run]:
        """The runs of a job, or of one session of it."""
        return [
            r
            for r in self._runs.values()
            if r.dispatch.job == job and (session is None or r.dispatch.session == session)
        ]

    def end_all(self, reason: EndReason) -> None:
        for run in self:
            run.end(reason)

    def as_messages(self) -> list[RunningSession]:
        return [
            RunningSession(
                job=r.dispatch.job,
                session=r.dispatch.session,
                attempt=r.dispatch.attempt,
                platform=r.dispatch.platform,
                since=r.since,
            )
            for r in self._runs.values()
        ]
