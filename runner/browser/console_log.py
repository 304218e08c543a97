"""What the pages of a session write to the console, and what they throw: text, bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.async_api import BrowserContext, ConsoleMessage, WebError

MAX_CHARACTERS = 256_000
MAX_LINE = 4_000


class ConsoleLog:
    """`listen` once; `text` is what came so far. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lines: list[str] = []
        self._size = 0
        self._more = 0

    def listen(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)

    @property
    def text(self) -> str:
        """A line for each message: seconds since the start, kind, text, place."""
        end = [f"… and {self._more} more"] if self._more else []
        return "".join(f"{line}\n" for line in [*self._lines, *end])

    def _on_console(self, message: ConsoleMessage) -> None:
        place = message.location
        where = f" ({place['url']}:{place['lineNumber'] + 1})" if place.get("url") else ""
        self._add(message.type, f"{message.text}{where}")

    def _on_error(self, error: WebError) -> None:
        self._add("exception", str(error.error))

    def _add(self, kind: str, text: str) -> None:
        text = text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"
        if self._size + len(text) > MAX_CHARACTERS:
            self._more += 1
            return
        self._size += len(text)
        self._lines.append(f"{self._clock() - self._began:9.3f} {kind:<9} {text}")
