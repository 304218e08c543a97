"""`tb nats creds`: credentials files for the plain command line of NATS, from the keys of the broker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from broker_config import nats_jwt
from broker_config.duration import Duration
from broker_config.errors import SettingsError
from broker_config.keyring import Keyring
from broker_config.operator_mode import JS_PREFIX, orchestrator_token, watcher_token

from .output import err


def watch(keys: Path, file: Path, ttl: Duration) -> None:
    """Write the credentials of somebody who looks on, and changes nothing. Raises `SettingsError`."""
    _write(keys, file, ttl, watcher_token)
    console = err()
    console.print(f"{file} lets the plain client look on:", markup=False)
    console.print(f"  nats --creds {file} sub 'job.progress.*'", markup=False)
    console.print(f"  nats --creds {file} --js-api-prefix {JS_PREFIX} stream info PROGRESS", markup=False)


def full(keys: Path, file: Path, ttl: Duration) -> None:
    """Write the credentials of somebody who may do all that an orchestrator may: for backups, and to mend
    things. Raises `SettingsError`."""
    _write(keys, file, ttl, orchestrator_token)
    console = err()
    console.print(f"{file} lets the plain client do everything; remove it after use:", markup=False)
    console.print(f"  nats --creds {file} backup account DIR", markup=False)


class _Issue(Protocol):
    def __call__(
        self, keyring: Keyring, name: str, key: str, /, *, now: float, expires_at: float | None
    ) -> str: ...


def _write(keys: Path, file: Path, ttl: Duration, issue: _Issue) -> None:
    keyring = Keyring.load(keys)
    seed, now = nats_jwt.new_user_seed(), time.time()
    name = file.stem[:64] or "nats"
    token = issue(
        keyring, name, nats_jwt.public_key(seed), now=now, expires_at=now + float(ttl) if ttl else None
    )
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise SettingsError(f"{file} cannot be made: {e.strerror or e}") from None
    with os.fdopen(fd, "w", encoding="ascii") as out:
        out.write(nats_jwt.credentials(token, seed))
