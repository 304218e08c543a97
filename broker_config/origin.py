"""An origin: scheme, host and port of a web site (RFC 6454)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
#: A name or an IPv4 address, or an IPv6 address. Nothing that a browser would decode or refuse.
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


class Origin(NamedTuple):
    """`host` is lower case, without a trailing dot and without brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute http or https URL; `ValueError` says what is wrong."""
        if any(c <= " " or c in "\\\x7f" for c in url):
            raise ValueError(f"{url!r} holds a space, a backslash or a control character")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as e:
            raise ValueError(f"{url!r} is not a URL: {e}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not an absolute http:// or https:// URL")
        if port == 0:
            raise ValueError(f"{url!r} has port 0")
        host = parts.hostname
        try:
            host = (host if host.isascii() else host.encode("idna").decode()).rstrip(".")
        except UnicodeError:
            raise ValueError(f"{url!r} has a host that is not a domain name") from None
        if not host:
            raise ValueError(f"{url!r} has no host")
        if not _HOST.fullmatch(host):
            raise ValueError(f"{url!r} has a host that is not a domain name")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme])

    @property
    def is_loopback(self) -> bool:
        """True for localhost and its subdomains, 127.0.0.0/8 and ::1; names are not looked up."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")
