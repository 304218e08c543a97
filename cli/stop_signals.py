"""Signals to stop as two events: the first asks to end in good order, the second to hurry."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The work was ended by a signal; everything it held is given back."""


class StopSignals:
    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def told(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()

    async def bound(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; cancelled by the first signal, and then `Interrupted` when it has cleaned up."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            raise Interrupted
        error = task.exception()
        if self.stop.is_set() and error is not None and _only_cancelled(error):
            raise Interrupted
        return task.result()


@contextlib.contextmanager
def handled() -> Iterator[StopSignals]:
    """Within the block, SIGINT, SIGTERM and SIGHUP (the terminal is gone) end up in the events."""
    loop = asyncio.get_running_loop()
    signals = StopSignals()

    def handler(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(signals.told)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, n) for n in names if hasattr(signal, n)]
    # Who started us with nohup wants us to outlive the terminal.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)
    before = {n: signal.signal(n, handler) for n in numbers}
    try:
        yield signals
    finally:
        for n, old in before.items():
            # All is given back; one Ctrl-C more must not end the rest of the process half-way.
            signal.signal(n, signal.SIG_IGN if signals.stop.is_set() else old)


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_cancelled(e) for e in error.exceptions)
    return isinstance(error, asyncio.CancelledError)
