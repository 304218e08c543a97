"""Signals of the runner's process, on a loop that runs in the main thread."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    def drain(self) -> None: ...
    def kill(self) -> None: ...
    def woken(self) -> None: ...


@contextlib.contextmanager
def handled(runner: Stoppable) -> Iterator[None]:
    """SIGTERM and SIGINT drain, the second of them kills; SIGCONT makes the runner look at its leases."""
    loop = asyncio.get_running_loop()
    told = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal told
        # Queued, not called: a handler runs between any two instructions.
        loop.call_soon_threadsafe(runner.kill if told else runner.drain)
        told = True

    def woken(number: int, frame: FrameType | None) -> None:
        # Queued before the loop reads its sockets: leases are looked at before anything that waited there.
        loop.call_soon_threadsafe(runner.woken)

    handlers = {"SIGTERM": stop, "SIGINT": stop, "SIGBREAK": stop, "SIGCONT": woken}
    before = {}
    for name, handler in handlers.items():
        if number := getattr(signal, name, None):
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
