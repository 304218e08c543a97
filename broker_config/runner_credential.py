"""A runner's credential, as it is kept in its data directory: the pair of keys that it has made, and what it
was granted for it. Only its owner can read the file; the private key is nowhere else."""

from __future__ import annotations

import os
import secrets
import ssl
import stat
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec

from . import nats_jwt
from .broker_login import BrokerLogin
from .enrolment import RENEW_AT, RunnerGrant
from .errors import SettingsError

FILE = "credential.json"
_ANY_HOST = ("", "0.0.0.0", "::")


class RunnerCredential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`seed` is the private key (`SU…`). Without a `token` the runner has not joined yet. Never shown: the
    repr tells the name alone."""

    runner: str
    seed: str
    token: str = ""
    nats: list[str] = []
    #: When it was received, by this machine's clock, and how long it holds, s.
    received_at: float = 0.0
    life: float = 0.0
    pool: str | None = None
    platforms: list[str] = []
    scripts: bool = False
    dispatch_keys: list[str] = []
    ca: str = ""
    #: False where the certificate itself is known, and made out to another name.
    check_name: bool = True

    def __repr__(self) -> str:
        return f"RunnerCredential({self.runner!r}, …)"

    @classmethod
    def new(cls, runner: str) -> Self:
        """A new pair of keys, for which nothing is granted yet."""
        return cls(runner=runner, seed=nats_jwt.new_user_seed().decode())

    @classmethod
    def load(cls, data_dir: Path) -> Self | None:
        """None if there is none. Raises `SettingsError`."""
        path = data_dir / FILE
        try:
            if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SettingsError(f"{path} can be read by others; chmod 600 it")
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise SettingsError(f"{path} cannot be read: {e.strerror or e}") from None
        except msgspec.MsgspecError:
            raise SettingsError(
                f"{path} does not hold a runner's credential; `tb-runner leave` removes it, then join anew"
            ) from None

    def save(self, data_dir: Path) -> None:
        """All or nothing. Raises `SettingsError`."""
        path = data_dir / FILE
        beside = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(msgspec.json.encode(self))
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
        except OSError as e:
            raise SettingsError(f"{path} cannot be written: {e.strerror or e}") from None

    def granted(self, grant: RunnerGrant, *, now: float, reached: str = "") -> Self:
        """With what was granted for its key; `reached` is the host at which the orchestrator was."""
        return msgspec.structs.replace(
            self,
            runner=grant.runner,
            token=grant.token,
            nats=self._addresses(grant, reached),
            received_at=now,
            life=grant.expires_at - grant.issued_at,
            pool=grant.pool,
            platforms=grant.platforms,
            scripts=grant.scripts,
            dispatch_keys=grant.dispatch_keys,
            ca=grant.ca,
        )

    def _addresses(self, grant: RunnerGrant, reached: str) -> list[str]:
        found = [_at(url, reached) for url in grant.nats]
        # Renewed over the broker: what was reached when it joined is not told again.
        return self.nats if not found or any(map(is_everywhere, found)) else found

    @property
    def key(self) -> str:
        """The public key."""
        return nats_jwt.public_key(self.seed.encode())

    @property
    def renew_at(self) -> float:
        return self.received_at + RENEW_AT * self.life

    @property
    def expires_at(self) -> float:
        return self.received_at + self.life

    def sign(self, data: bytes) -> bytes:
        return nats_jwt.sign(self.seed.encode(), data)

    def login(self) -> BrokerLogin:
        return BrokerLogin(self.seed.encode(), lambda: self.token)

    def tls(self) -> ssl.SSLContext | None:
        """What certificates of the broker are believed; None: those of the system."""
        return pinned(self.ca, check_name=self.check_name) if self.ca else None


def remove(data_dir: Path) -> bool:
    """Forget the credential; False if there is none. Raises `SettingsError`."""
    path = data_dir / FILE
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as e:
        raise SettingsError(f"{path} cannot be removed: {e.strerror or e}") from None
    return True


def pinned(pem: str, *, check_name: bool = True) -> ssl.SSLContext:
    """Believes these certificates beside those of the system, be they an authority's or the very one that is
    shown. Raises `SettingsError`."""
    context = ssl.create_default_context()
    # The certificate itself is enough: it need not be an authority's.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = check_name
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise SettingsError("the certificates to believe are not PEM") from None
    return context


def is_everywhere(url: str) -> bool:
    """Whether the host is no address to dial, but stands for all of a machine's."""
    return (urlsplit(url).hostname or "") in _ANY_HOST


def _at(url: str, reached: str) -> str:
    """`url` with a host that can be dialled from elsewhere."""
    parts = urlsplit(url)
    if not reached or not is_everywhere(url):
        return url
    host = f"[{reached}]" if ":" in reached else reached
    return f"{parts.scheme}://{host}:{parts.port}"
