"""The secret keys of an installation: what signs sessions, what seals stored secrets, what rules the broker.

They are a directory of files that only their owner can read. All orchestrators of a fleet have the same:
`tb up` makes it beside its data, `tb keys init` makes one to be copied.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any, Self

import msgspec
import nkeys

from .errors import SettingsError
from .signature import Verifier

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
#: May be missing: public keys, one a line.
_ACCEPTED = "dispatch-accepted"
#: May be missing: keys that `seal` was before, one after the other, of which each still opens what it sealed.
_SEAL_OLDER = "seal-older"


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds of nkeys (`SU…`, `SA…`, `SO…`), and a random key of 32 bytes. Never shown: the repr is empty."""

    operator: bytes
    system_account: bytes
    app_account: bytes
    runners_account: bytes
    runners_signing: bytes
    dispatch: bytes
    seal: bytes
    older_seals: tuple[bytes, ...] = ()
    #: Public keys beside that of `dispatch` whose signatures on dispatches hold too: the next or the last
    #: one, while a fleet of orchestrators changes over.
    accepted: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Keyring(…)"

    @classmethod
    def new(cls) -> Self:
        """Made of the system's randomness."""
        seeds: dict[str, Any] = {
            _field(name): bytes(nkeys.encode_seed(os.urandom(32), kind)) for name, kind in _SEEDS.items()
        }
        return cls(**seeds, seal=secrets.token_bytes(_SEAL_BYTES))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises `SettingsError`, in words, for what is missing, broken or open to others."""
        if os.name == "posix" and directory.is_dir() and stat.S_IMODE(directory.stat().st_mode) & 0o022:
            raise SettingsError(
                f"{directory} can be written by others, who could exchange its keys; chmod 700 it"
            )
        found = {_field(name): _seed(directory / f"{name}.nk", kind) for name, kind in _SEEDS.items()}
        seal = _read(directory / _SEAL)
        if len(seal) != _SEAL_BYTES:
            raise SettingsError(f"{directory / _SEAL} does not hold a key of {_SEAL_BYTES} bytes")
        return cls(
            **found,
            seal=seal,
            older_seals=_older_seals(directory / _SEAL_OLDER),
            accepted=_public_keys(directory / _ACCEPTED),
        )

    @classmethod
    def load_or_make(cls, directory: Path) -> Self:
        """What is in `directory`; a new one is put there if it is empty or missing."""
        if not _is_used(directory):
            made = cls.new()
            try:
                made.save(directory)
            except KeysExist:
                pass  # another process was quicker: its keys are everybody's
            else:
                return made
        return cls.load(directory)

    def save(self, directory: Path) -> None:
        """Into an empty or missing directory, all or nothing. Raises `SettingsError`: `KeysExist` if there is
        something in it."""
        # Beside it first: half a keyring would be refused ever after.
        beside = directory.with_name(f"{directory.name}.{secrets.token_hex(4)}")
        try:
            directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside.mkdir(mode=0o700)
            try:
                for name in _SEEDS:
                    _write(beside / f"{name}.nk", getattr(self, _field(name)))
                _write(beside / _SEAL, self.seal)
                if self.accepted:
                    _write(beside / _ACCEPTED, "".join(f"{key}\n" for key in self.accepted).encode())
                with contextlib.suppress(OSError):
                    directory.rmdir()  # an empty one makes room; a used one stays
                beside.rename(directory)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
        except OSError as e:
            if _is_used(directory):
                raise KeysExist(
                    f"{directory} is not empty; name a directory that does not exist yet"
                ) from None
            raise SettingsError(f"keys cannot be kept in {directory}: {e.strerror or e}") from None

    def public(self, name: str) -> str:
        """The public key of `dispatch`, `runners_signing` and so on."""
        return str(nkeys.from_seed(bytearray(getattr(self, name))).public_key.decode())

    @property
    def dispatch_keys(self) -> list[str]:
        """Public keys whose signatures on dispatches hold: the own one first."""
        return list(dict.fromkeys([self.public("dispatch"), *self.accepted]))

    def encode(self) -> bytes:
        """As one document, for a bucket that only orchestrators may read."""
        fields = {name: getattr(self, _field(name)).decode() for name in _SEEDS}
        return msgspec.json.encode({**fields, _SEAL: self.seal, _ACCEPTED: self.accepted})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises `SettingsError`."""
        try:
            found = msgspec.json.decode(data, type=dict[str, Any])
            seeds: dict[str, Any] = {
                _field(name): _checked(found[name].encode(), kind) for name, kind in _SEEDS.items()
            }
            seal = base64.b64decode(found[_SEAL], validate=True)
            accepted = tuple(msgspec.convert(found.get(_ACCEPTED, []), list[str]))
            Verifier(accepted)
        except (msgspec.MsgspecError, KeyError, AttributeError, ValueError):
            raise SettingsError("the shared keyring on the broker cannot be read") from None
        if len(seal) != _SEAL_BYTES:
            raise SettingsError("the shared keyring on the broker cannot be read")
        return cls(**seeds, seal=seal, accepted=accepted)


class KeysExist(SettingsError):
    """The directory for new keys is not empty."""


def _field(name: str) -> str:
    return name.replace("-", "_")


def _is_used(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _older_seals(path: Path) -> tuple[bytes, ...]:
    if not path.exists():
        return ()
    data = _read(path)
    if len(data) % _SEAL_BYTES:
        raise SettingsError(f"{path} does not hold keys of {_SEAL_BYTES} bytes, one after the other")
    return tuple(data[at : at + _SEAL_BYTES] for at in range(0, len(data), _SEAL_BYTES))


def _public_keys(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    keys = tuple(_read(path).decode("ascii", "replace").split())
    try:
        Verifier(keys)
    except SettingsError as e:
        raise SettingsError(f"{path}: {e}") from None
    return keys


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


def _seed(path: Path, kind: int) -> bytes:
    try:
        return _checked(_read(path).strip(), kind)
    except ValueError:
        raise SettingsError(
            f"{path} does not hold the seed of such a key; copy the whole directory again"
        ) from None


def _checked(seed: bytes, kind: int) -> bytes:
    """Raises `ValueError`."""
    try:
        found, raw = nkeys.decode_seed(bytearray(seed))
    except Exception:
        raise ValueError("no seed") from None
    # The library looks at no checksum: written anew it must be the same.
    if found != kind or bytes(nkeys.encode_seed(bytes(raw), kind)) != seed:
        raise ValueError("another kind of seed, or a damaged one")
    return seed


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
