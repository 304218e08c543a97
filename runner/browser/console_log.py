"""What the pages of a session write to the console, and what they throw: text, bounded.

A message is kept whole until the end, when all secrets are known: one that was cut before could hold the
first part of a secret, which is not found."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.async_api import BrowserContext, ConsoleMessage, WebError

#: Of the text.
MAX_CHARACTERS = 256_000
MAX_LINE = 4_000
#: Of what is kept: of a longer message only its length is told.
MAX_MESSAGE = 64_000
MAX_KEPT = 1_000_000


class ConsoleLog:
    """`listen` once; `text` gives what came so far. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._messages: list[tuple[float, str, str]] = []
        self._kept = 0
        self._more = 0

    def listen(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)

    def text(self, mask: Callable[[str], str] = str) -> str:
        """A line for each message: seconds since the start, kind, text, place. `mask` is given each message
        as a whole, before it is cut."""
        lines, size, more = [], 0, self._more
        for n, (at, kind, message) in enumerate(self._messages):
            message = mask(message)
            message = message if len(message) <= MAX_LINE else message[: MAX_LINE - 1] + "…"
            size += len(message)
            if size > MAX_CHARACTERS:
                more += len(self._messages) - n
                break
            lines.append(f"{at:9.3f} {kind:<9} {message}\n")
        return "".join(lines) + (f"… and {more} more\n" if more else "")

    def _on_console(self, message: ConsoleMessage) -> None:
        place = message.location
        where = f" ({place['url']}:{place['lineNumber'] + 1})" if place.get("url") else ""
        self._add(message.type, f"{message.text}{where}")

    def _on_error(self, error: WebError) -> None:
        self._add("exception", str(error.error))

    def _add(self, kind: str, text: str) -> None:
        text = text if len(text) <= MAX_MESSAGE else f"a message of {len(text)} characters"
        if self._kept + len(text) > MAX_KEPT:
            self._more += 1
            return
        self._kept += len(text)
        self._messages.append((self._clock() - self._began, kind, text))
