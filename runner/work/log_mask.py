"""Keeps the secrets of running sessions out of the process's own log, whoever writes there: a script's stray
task, a library's traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from runner.core.masking import Masker


class LogMask(logging.Filter):
    """A filter of handlers. `over` masks values while its block runs; `installed` puts it into place."""

    def __init__(self) -> None:
        super().__init__()
        self._maskers: list[Masker] = []
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        if self._maskers:
            record.msg, record.args = self._masked(record.getMessage()), ()
            if record.exc_info:
                record.exc_text = record.exc_text or self._formatter.formatException(record.exc_info)
                record.exc_info = None
            if record.exc_text:
                record.exc_text = self._masked(record.exc_text)
        return True

    @contextmanager
    def over(self, values: list[str]) -> Iterator[None]:
        masker = Masker(values)
        self._maskers.append(masker)
        try:
            yield
        finally:
            self._maskers.remove(masker)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In all handlers that the root logger has now."""
        handlers = list(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(self)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self)

    def _masked(self, text: str) -> str:
        for masker in self._maskers:
            text = masker.text(text)
        return text
