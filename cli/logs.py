"""Logging of the long-running commands: one line an event, on stderr, in a file, or both."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

#: A log file is begun anew at this size, and the one before is kept beside it.
_MAX_BYTES = 16 << 20


def set_up(level: str, file: Path | None = None, *, shown: str | None = None) -> None:
    """Log from `level` on; to `file` if given, else to stderr. Libraries only from warnings on.

    With `file`, what is of the level `shown` or above goes to stderr too; with None nothing does.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        # What is in it is nobody else's business, whatever the umask says.
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handlers.append(RotatingFileHandler(file, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8"))
    if file is None or shown is not None:
        handlers.append(logging.StreamHandler())
        handlers[-1].setLevel((shown or level).upper())
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    for ours in ("broker_config", "orchestrator", "runner", "cli"):
        logging.getLogger(ours).setLevel(level.upper())
    # Of no consequence, and said at each end of a TLS connection.
    logging.getLogger("asyncio").addFilter(_is_no_eof)
    # Said by our own code, in its own words.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def _is_no_eof(record: logging.LogRecord) -> bool:
    return "eof_received" not in str(record.msg)
