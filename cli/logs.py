"""Logging of the long-running commands: one line an event, on stderr or in a file."""

from __future__ import annotations

import logging
from pathlib import Path


def set_up(level: str, file: Path | None = None) -> None:
    """Log from `level` on; to `file` if given, else to stderr. Libraries only from warnings on."""
    handler: logging.Handler
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("broker_config", "orchestrator", "runner", "cli"):
        logging.getLogger(ours).setLevel(level.upper())
    # Said by our own code, in its own words.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
