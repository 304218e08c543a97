"""How sessions leave the runner, and where they may go beside the job's own origins: parts of the spec."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .duration import Duration
from .errors import Problem
from .origin_pattern import OriginPattern
from .proxy import Proxy

MAX_PATTERNS = 200
MAX_OWN_PROXIES = 200
MAX_DNS = 4

Pattern = Annotated[str, Meta(min_length=1, max_length=300)]

#: Resources of other origins that pages may load: none (`block`), those of the listed origins, or `all`. Each
#: is reported. It is for resources, frames included: a page of another origin is never opened as the
#: session's own document; that takes a target, or an origin that the job lists.
ThirdParty = Literal["block", "all"] | Annotated[list[Pattern], Meta(max_length=MAX_PATTERNS)]


class Egress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way out: direct where neither `pool` nor `proxies` is given.

    With proxies nothing goes direct but what `bypass` lists, whatever becomes of the proxies. Another proxy
    is taken only when one does not work, never because of what the site answers.
    """

    #: Name of a pool that is kept on the broker.
    pool: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    #: Proxies of this job alone: `host:port:user:password`, or URLs with http, https or socks5.
    proxies: list[Annotated[str, Meta(min_length=1, max_length=1000)]] = []
    #: When the next proxy has its turn: with each session, after `cycle` sessions, or after `interval`. A
    #: session keeps its proxy as long as that works.
    rotation: Literal["session", "cycle", "interval"] = "session"
    #: Sessions with one proxy, where `rotation` is `cycle`.
    cycle: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    #: Time with one proxy, where `rotation` is `interval`.
    interval: Duration = msgspec.field(default_factory=lambda: Duration(60))
    #: Each proxy has its turn once in a round; `random` is another order in each round. Each runner goes
    #: round by itself, from a place of its own.
    order: Literal["sequential", "random"] = "sequential"
    #: Origins or hosts (`*.example.com`) that are reached without a proxy.
    bypass: Annotated[list[Pattern], Meta(max_length=MAX_PATTERNS)] = []
    #: DNS servers (`address` or `address:port`) that resolve the names of sites. Without them: the system's
    #: for direct ways; with a proxy, the proxy resolves.
    dns: list[Annotated[str, Meta(min_length=1, max_length=64)]] = []

    @property
    def is_direct(self) -> bool:
        return self.pool is None and not self.proxies


def without_credentials(egress: Egress) -> Egress:
    """As it may be stored and shown."""
    proxies = [str(Proxy.parse(text)) for text in egress.proxies]
    return msgspec.structs.replace(egress, proxies=proxies)


def dns_server(text: str) -> tuple[str, int]:
    """Address and port of a DNS server; `ValueError` says what is wrong."""
    host, port = text.strip(), "53"
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        host += "" if bracket else "["
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"{text!r} is not the address of a DNS server, such as 192.0.2.53") from None
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return address, int(port)


def egress_problems(egress: Egress, where: str = "egress") -> Iterator[Problem]:
    """What the types of the fields do not say."""
    if egress.pool is not None and egress.proxies:
        yield Problem(f"{where}.proxies", "stands beside pool; use one of them")
    if len(egress.proxies) > MAX_OWN_PROXIES:
        yield Problem(
            f"{where}.proxies",
            f"{len(egress.proxies)} proxies; at most {MAX_OWN_PROXIES}: make a pool of them",
        )
    seen: dict[tuple[object, ...], int] = {}
    for i, text in enumerate(egress.proxies):
        try:
            proxy = Proxy.parse(text)
        except ValueError as e:
            yield Problem(f"{where}.proxies[{i}]", str(e))
            continue
        first = seen.setdefault((proxy.scheme, proxy.host, proxy.port, proxy.user), i)
        if first != i:
            yield Problem(f"{where}.proxies[{i}]", f"{proxy} stands at {where}.proxies[{first}] already")
    if egress.rotation == "interval" and egress.interval <= 0:
        yield Problem(f"{where}.interval", "an interval of 0 is not allowed")
    yield from pattern_problems(egress.bypass, f"{where}.bypass")
    if len(egress.dns) > MAX_DNS:
        yield Problem(f"{where}.dns", f"{len(egress.dns)} servers; at most {MAX_DNS} are allowed")
    for i, text in enumerate(egress.dns):
        try:
            dns_server(text)
        except ValueError as e:
            yield Problem(f"{where}.dns[{i}]", str(e))


def pattern_problems(patterns: str | Sequence[str], where: str = "third_party") -> Iterator[Problem]:
    """Of a list of patterns, or of a `ThirdParty`."""
    if isinstance(patterns, str):
        return
    for i, text in enumerate(patterns):
        try:
            OriginPattern.parse(text)
        except ValueError as e:
            yield Problem(f"{where}[{i}]", str(e))
