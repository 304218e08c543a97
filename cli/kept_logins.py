"""Logins that `tb login` keeps: one for each server, in a file that only its owner can read."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from broker_config.errors import SettingsError

from . import private_file
from .settings import default_file

_FILE = "logins.json"


class KeptLogin(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    secret: str
    expires_at: float


def path() -> Path:
    return default_file().with_name(_FILE)


def find(server: str) -> KeptLogin | None:
    """The login at that very server (scheme, host and port), if it has not expired."""
    found = _read().get(server)
    return found if found is not None and found.expires_at > time.time() else None


def keep(server: str, login: KeptLogin) -> None:
    now = time.time()
    others = {s: k for s, k in _read().items() if k.expires_at > now}
    _write(others | {server: login})


def forget(server: str) -> None:
    kept = _read()
    if kept.pop(server, None) is not None:
        _write(kept)


def _read() -> dict[str, KeptLogin]:
    try:
        return msgspec.json.decode(path().read_bytes(), type=dict[str, KeptLogin])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as e:
        raise SettingsError(
            f"the kept logins in {path()} cannot be read ({e}); remove the file and log in again"
        ) from None


def _write(logins: dict[str, KeptLogin]) -> None:
    private_file.write(path(), msgspec.json.encode(logins).decode() + "\n")
