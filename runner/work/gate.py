"""Whether slots may take sessions now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Gate:
    """Slots wait at it. `allowed` decides for a slot; `look` is to be called whenever its answer may have
    changed: it lets waiting slots through and calls `shut` for each whose answer became no."""

    def __init__(self, slots: int, allowed: Callable[[int], bool], shut: Callable[[int], None]) -> None:
        self._allowed = allowed
        self._shut = shut
        self._open = [False] * slots
        self._released = False
        self._events = [asyncio.Event() for _ in range(slots)]

    async def wait(self, slot: int) -> None:
        """Until the slot may take a session, or `release`."""
        while not self._released and not self._allowed(slot):
            self._open[slot] = False
            self._events[slot].clear()
            await self._events[slot].wait()
        self._open[slot] = True

    def look(self) -> None:
        for slot, was in enumerate(self._open):
            now = self._allowed(slot)
            if now and not was:
                self._events[slot].set()
            elif was and not now:
                self._open[slot] = False
                self._shut(slot)

    def release(self) -> None:
        """Let all through, for good: they find out that they are to end."""
        self._released = True
        for event in self._events:
            event.set()
