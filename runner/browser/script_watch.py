"""Watches the event loop while scripts run: one that does not let go is interrupted, or its runner ends.

A script shares its loop with the leases and heartbeats of all sessions of its runner. After `PATIENCE`
seconds without a turn of the loop the system's timer interrupts the script, wherever it is in Python or waits
in the system, and its session fails. What cannot be interrupted so (foreign code that heeds no signal; any
code where the system has no such timer) ends the process after `LAST`: before its leases are lost, so that no
browser of it goes on when others take over its sessions.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from broker_config.streams import LEASE
from runner.core.lease import LOST_SHARE

#: Seconds without a turn of the loop, after which a script is interrupted, and again after each `AGAIN`.
PATIENCE = 3.0
AGAIN = 0.5
#: Seconds without a turn after which the process ends with exit code 1 and a traceback.
LAST = 0.85 * LOST_SHARE * LEASE
TURN = 0.5
#: `__name__` of the module that a script is.
MODULE = "trafficbuster_script"


class ScriptBlocked(BaseException):
    """Raised inside a script that holds the loop. Not an `Exception`: those are caught too easily."""


class _Watch:
    """Of the whole process, as timers and signals are. Only the loop's own thread may use it."""

    def __init__(self) -> None:
        self._open = 0
        self._strikes = 0
        self._patience, self._last = PATIENCE, LAST
        self._before: Any = None
        self._interrupts = False
        self._next: asyncio.TimerHandle | None = None
        self._sink: TextIO | None = None

    def enter(self, patience: float, last: float) -> None:
        self._open += 1
        if self._open > 1:
            return
        self._patience, self._last = patience, last
        self._interrupts = sys.platform != "win32" and threading.current_thread() is threading.main_thread()
        if self._interrupts:
            self._before = signal.signal(signal.SIGALRM, self._due)
        self._turn()

    def leave(self) -> None:
        self._open -= 1
        if self._open:
            return
        if self._next is not None:
            self._next.cancel()
        faulthandler.cancel_dump_traceback_later()
        if self._interrupts:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def _turn(self) -> None:
        """The loop has come round: both clocks begin again."""
        self._strikes = 0
        if self._interrupts:
            signal.setitimer(signal.ITIMER_REAL, self._patience, AGAIN)
        faulthandler.dump_traceback_later(self._last, exit=True, file=self._stderr())
        self._next = asyncio.get_running_loop().call_later(TURN, self._turn)

    def _due(self, number: int, frame: FrameType | None) -> None:
        # The first may come late, from a process that was stopped.
        self._strikes += 1
        while self._strikes > 1 and frame is not None:
            if frame.f_globals.get("__name__") == MODULE:
                raise ScriptBlocked(
                    f"it held the runner for more than {self._patience:g} s without an await; use "
                    "asyncio.sleep, async clients, or asyncio.to_thread"
                )
            frame = frame.f_back

    def _stderr(self) -> TextIO:
        try:
            sys.__stderr__.fileno()  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):
            self._sink = self._sink or open(os.devnull, "w")  # noqa: SIM115
            return self._sink
        assert sys.__stderr__ is not None
        return sys.__stderr__


_watch = _Watch()


@contextmanager
def watched(patience: float | None = None, last: float | None = None) -> Iterator[None]:
    """Watch the running loop in this block, in which a script runs. Seconds; the first block's count."""
    _watch.enter(patience or PATIENCE, last or LAST)
    try:
        yield
    finally:
        _watch.leave()
