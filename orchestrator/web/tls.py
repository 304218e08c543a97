"""The certificate of the web server."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from broker_config.errors import SettingsError


def server_context(cert: str, key: str) -> ssl.SSLContext | None:
    """Of two PEM files; None where neither is named. Raises `SettingsError`, in words."""
    if not cert and not key:
        return None
    if not cert or not key:
        given, missing = ("--tls-cert", "--tls-key") if cert else ("--tls-key", "--tls-cert")
        raise SettingsError(f"{given} is given without {missing}; TLS takes both, as PEM files")
    _readable(cert, "--tls-cert")
    _readable(key, "--tls-key")
    if os.name == "posix" and stat.S_IMODE(Path(key).stat().st_mode) & 0o077:
        raise SettingsError(f"--tls-key {key} can be read by others; chmod 600 it")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password: a prompt would keep the server from starting.
        context.load_cert_chain(cert, key, password=_no_password)
    except _Encrypted:
        raise SettingsError(f"--tls-key {key} is encrypted; give one without a password") from None
    except ssl.SSLError as e:
        if e.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(f"--tls-key {key} is not the key of --tls-cert {cert}") from None
        raise SettingsError(
            f"--tls-cert {cert} and --tls-key {key} cannot be used: they must be PEM files, the certificate "
            f"first in its chain ({e.reason or 'no PEM'})"
        ) from None
    return context


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted


def _readable(path: str, flag: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as e:
        raise SettingsError(f"{flag} {path} cannot be read: {e.strerror or e}") from None
