"""The secret keys of an installation: what signs sessions, what seals stored secrets, what rules the broker.

They are a directory of files that only their owner can read. All orchestrators of a fleet have the same:
`tb up` makes it beside its data, `tb keys init` makes one to be copied.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Self

import msgspec
import nkeys

from .errors import SettingsError

#: Name of each file, and what kind of key it holds.
_SEEDS = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "system-account": nkeys.PREFIX_BYTE_ACCOUNT,
    "app-account": nkeys.PREFIX_BYTE_ACCOUNT,
    "runners-account": nkeys.PREFIX_BYTE_ACCOUNT,
    # Signs the credentials of runners, whose permissions are a template of this key.
    "runners-signing": nkeys.PREFIX_BYTE_ACCOUNT,
    # Signs dispatched sessions and the grants of jobs.
    "dispatch": nkeys.PREFIX_BYTE_USER,
}
_SEAL = "seal"
_SEAL_BYTES = 32


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds of nkeys (`SU…`, `SA…`, `SO…`), and a random key of 32 bytes. Never shown: the repr is empty."""

    operator: bytes
    system_account: bytes
    app_account: bytes
    runners_account: bytes
    runners_signing: bytes
    dispatch: bytes
    seal: bytes

    def __repr__(self) -> str:
        return "Keyring(…)"

    @classmethod
    def new(cls) -> Self:
        """Made of the system's randomness."""
        seeds = {
            _field(name): bytes(nkeys.encode_seed(os.urandom(32), kind)) for name, kind in _SEEDS.items()
        }
        return cls(**seeds, seal=secrets.token_bytes(_SEAL_BYTES))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises `SettingsError`, in words, for what is missing, broken or open to others."""
        found = {_field(name): _seed(directory / f"{name}.nk") for name in _SEEDS}
        seal = _read(directory / _SEAL)
        if len(seal) != _SEAL_BYTES:
            raise SettingsError(f"{directory / _SEAL} does not hold a key of {_SEAL_BYTES} bytes")
        return cls(**found, seal=seal)

    @classmethod
    def load_or_make(cls, directory: Path) -> Self:
        """What is in `directory`; a new one is put there if it is empty or missing."""
        if directory.is_dir() and any(directory.iterdir()):
            return cls.load(directory)
        made = cls.new()
        made.save(directory)
        return made

    def save(self, directory: Path) -> None:
        """Into an empty directory, all or nothing. Raises `SettingsError`."""
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            # Beside it first: half a keyring would be refused ever after.
            beside = directory.with_name(f"{directory.name}.{secrets.token_hex(4)}")
            beside.mkdir(mode=0o700)
            for name in _SEEDS:
                _write(beside / f"{name}.nk", getattr(self, _field(name)))
            _write(beside / _SEAL, self.seal)
            with contextlib.suppress(FileNotFoundError):
                directory.rmdir()
            beside.rename(directory)
        except OSError as e:
            raise SettingsError(f"keys cannot be kept in {directory}: {e.strerror or e}") from None

    def public(self, name: str) -> str:
        """The public key of `dispatch`, `runners_signing` and so on."""
        return str(nkeys.from_seed(bytearray(getattr(self, name))).public_key.decode())


def _field(name: str) -> str:
    return name.replace("-", "_")


def _read(path: Path) -> bytes:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{path} can be read by others; chmod 600 it, and its directory 700")
        return path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is missing; keys come as a whole directory: copy it again, or give one that does not "
            "exist yet to make a new one (what the old one sealed is lost then)"
        ) from None
    except OSError as e:
        raise SettingsError(f"{path} cannot be read: {e.strerror or e}") from None


def _seed(path: Path) -> bytes:
    seed = _read(path).strip()
    try:
        nkeys.from_seed(bytearray(seed))
    except Exception:
        raise SettingsError(f"{path} does not hold the seed of a key") from None
    return seed


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
