"""With which credential a server is asked, and none to a server that it is not for.

In this order: what the call itself names (`--token-file`, `TB_TOKEN_FILE`, `TB_TOKEN`); the login that
`tb login` keeps for that server; where the server runs on this machine, the `admin.token` of its data
directory.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from broker_config.errors import SettingsError

from . import kept_logins, running_servers

_FILE = "admin.token"
_MAX_BYTES = 4096


class Found(NamedTuple):
    """`server` is where to ask; `secret` is empty where there is none. `source` says in words where it is
    from."""

    server: str
    secret: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return f"Found(server={self.server!r}, source={self.source!r}, …)"


def find(
    server: str,
    *,
    token_file: str | None = None,
    data_dirs: Sequence[Path] = (),
    environ: Mapping[str, str] = os.environ,
) -> Found:
    """Raises `SettingsError` for a file that cannot be used."""
    server = server.rstrip("/")
    if token_file or (token_file := environ.get("TB_TOKEN_FILE")):
        return Found(server, _secret(token_file), f"the token in {token_file}")
    if token := environ.get("TB_TOKEN", "").strip():
        return Found(server, token, "the token in TB_TOKEN")
    parts = _parts(server)
    if parts is None:
        return Found(server)
    if login := kept_logins.find(origin(server)):
        return Found(server, login.secret, f"the login as {login.name}")
    return _local(server, parts, data_dirs)


def origin(server: str) -> str:
    """Scheme, host and port: what a credential is kept for."""
    parts = _parts(server)
    if parts is None:
        raise SettingsError(f"server {server!r} is no address; write http://host:port (--server, TB_SERVER)")
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{_port(parts)}"


def is_loopback(server: str) -> bool:
    parts = _parts(server)
    return parts is not None and _is_loopback(parts.hostname or "")


def _local(server: str, parts: SplitResult, data_dirs: Sequence[Path]) -> Found:
    """Only to the process that has put the credential there, at the address where it listens: another
    program of this machine may have taken the port, or the other address of the name localhost."""
    host = parts.hostname or ""
    if not _is_loopback(host):
        return Found(server)
    running = running_servers.find(_port(parts), data_dirs)
    if running is None:
        return Found(server)
    if host == "localhost" and parts.scheme == "http":
        server, host = running.url, urlsplit(running.url).hostname or ""
    if host != "localhost" and not _listens_at(running.host, host):
        return Found(server)
    file = Path(running.data_dir) / _FILE
    try:
        return Found(server, file.read_text("ascii").strip(), f"the token in {file}")
    except (OSError, UnicodeDecodeError):
        return Found(server)  # of another user of this machine


def _listens_at(bound: str, host: str) -> bool:
    """Whether a server bound to the one address is the one that answers at the other."""
    if bound in ("", "0.0.0.0"):
        return ":" not in host
    if bound == "::":
        return ":" in host
    if bound == "localhost":
        return host == "127.0.0.1"
    return bound.strip("[]") == host


def _secret(file: str) -> str:
    try:
        with open(file, "rb") as source:
            text = source.read(_MAX_BYTES).decode("ascii").strip()
    except OSError as e:
        raise SettingsError(f"the token file {file} cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        text = ""
    if not text or len(text.split()) > 1:
        raise SettingsError(f"the token file {file} does not hold a token, and nothing else")
    return text


def _parts(server: str) -> SplitResult | None:
    try:
        parts = urlsplit(server)
        parts.port  # noqa: B018  it is read in order to be checked
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
