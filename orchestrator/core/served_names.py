"""The names and origins under which the orchestrator is served: what browsers may call it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from broker_config.errors import SettingsError

_LOOPBACK_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Whether a server bound to this address is reached from its own machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES


class ServedNames(NamedTuple):
    """`hosts` are names in lower case, without ports; `origins` those of settings, such as
    `https://tb.example`. Addresses and localhost are always served: nobody else's name can lead to a page
    that has one of these as its own."""

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, public_origins: Iterable[str], own: Iterable[str] = ()) -> ServedNames:
        """`own` are names of the machine. Raises `SettingsError` for what is no origin."""
        origins, hosts = set(), {n.lower() for n in own if n}
        for text in public_origins:
            origin = text.rstrip("/").lower()
            parts = urlsplit(origin)
            try:
                host, _ = parts.hostname, parts.port
            except ValueError:
                host = None
            named = bool(host) and "@" not in parts.netloc
            whole = f"{parts.scheme}://{parts.netloc}"
            if parts.scheme not in ("http", "https") or not named or origin != whole:
                raise SettingsError(
                    f"public origin {text!r} is none; write https://host or https://host:port, without a path"
                )
            origins.add(_without_default_port(origin))
            hosts.add(host or "")
        return cls(frozenset(hosts), frozenset(origins))

    def serves(self, host: str) -> bool:
        """Whether the header `Host` names this server; its port does not matter."""
        name = _name(host)
        if name is None:
            return False
        return name in _LOOPBACK_NAMES or name in self.hosts or _is_address(name)

    def is_own(self, origin: str, scheme: str, host: str) -> bool:
        """Whether the header `Origin` is that of the page which the request itself would have got."""
        return origin == _without_default_port(f"{scheme}://{host.lower()}") or origin in self.origins

    def is_secure(self, scheme: str, host: str) -> bool:
        """Whether browsers come by TLS, be it ended here or by a proxy before us."""
        return scheme == "https" or _without_default_port(f"https://{host.lower()}") in self.origins


def _name(host: str) -> str | None:
    if not host or any(c in host for c in "/@?#\\ \t,"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  it is read in order to be checked
        return parts.hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_default_port(origin: str) -> str:
    if origin.startswith("https://"):
        return origin.removesuffix(":443")
    return origin.removesuffix(":80")
