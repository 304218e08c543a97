"""Files that only their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from broker_config.errors import SettingsError


def write(path: Path, text: str) -> None:
    """In one step, with mode 600; its directory, if it has to be made, with 700. Raises `SettingsError`."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError as e:
        beside.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written: {e.strerror or e}") from None
