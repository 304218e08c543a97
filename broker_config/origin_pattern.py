"""A pattern of origins: `https://cdn.example.com`, `cdn.example.com`, `*.example.com`, `*.example.com:8443`.

`*.` in front stands for one or more labels: `*.example.com` fits `a.b.example.com`, not `example.com`.
Without a scheme both http and https fit, without a port any port; with a scheme but no port, its default.
"""

from __future__ import annotations

from typing import NamedTuple

from .origin import Origin

FORMS = "an origin such as https://cdn.example.com, a host, or *.host for all hosts below it"


class OriginPattern(NamedTuple):
    """`host` is without the `*.`, which `below` stands for. None fits all."""

    scheme: str | None
    host: str
    port: int | None
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> OriginPattern:
        """`ValueError` says what is wrong."""
        scheme, sep, rest = text.strip().rpartition("://")
        scheme = scheme.lower()
        if sep and scheme not in ("http", "https"):
            raise ValueError(f"{text!r} is not {FORMS}")
        below = rest.startswith("*.")
        rest = rest[2:] if below else rest
        if not rest or any(c in rest for c in "*/@?#"):
            raise ValueError(f"{text!r} is not {FORMS}")
        if rest.count(":") > 1 and not rest.startswith("["):
            rest = f"[{rest}]"
        try:
            origin = Origin.of(f"{scheme or 'http'}://{rest}")
        except ValueError:
            raise ValueError(f"{text!r} is not {FORMS}") from None
        has_port = rest.rpartition(":")[2].isdigit() and not rest.endswith("]")
        return cls(scheme or None, origin.host, origin.port if has_port or scheme else None, below)

    def fits(self, origin: Origin) -> bool:
        if self.scheme not in (None, origin.scheme) or self.port not in (None, origin.port):
            return False
        return origin.host.endswith(f".{self.host}") if self.below else origin.host == self.host
