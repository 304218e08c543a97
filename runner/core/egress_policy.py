"""Where a session's traffic may go: hosts in their one spelling, and a judgement for each origin and address.

A page of an origin that is not authorised is never opened as a session's own document, even where resources
of that origin are allowed: being used by a page authorises nobody to test its site. The gate sees what a
request is for only where the browser says so (`Sec-Fetch-Dest`, on plain http to loopback; else
`Upgrade-Insecure-Requests`, which browsers send with documents and frames). In a TLS tunnel it sees nothing:
there the session has to watch its own main frame.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from broker_config.address import IPAddress, as_address, is_link_local, is_public
from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern

#: `document`: the page itself; `resource`: all else; `tunnel`: cannot be seen.
Purpose = Literal["document", "resource", "tunnel"]
#: Why something was refused.
Refusal = Literal[
    "foreign_document",
    "foreign_resource",
    "foreign_tunnel",
    "private_address",
    "expired",
    "malformed",
    "limit",
]
_FOREIGN: dict[Purpose, Refusal] = {
    "document": "foreign_document",
    "resource": "foreign_resource",
    "tunnel": "foreign_tunnel",
}

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What one session may do. The empty policy refuses all."""

    #: Authorised: documents, resources, everything. Hosts as `normal_host` gives them.
    origins: frozenset[Origin] = frozenset()
    third_party: Literal["block", "all"] | tuple[OriginPattern, ...] = "block"
    #: Names of `origins` that may lead to addresses that are not public, at the ports given there. Loopback
    #: names always may; to link-local addresses no name may.
    private_hosts: frozenset[str] = frozenset()
    #: This session's share of its job's rate ceiling: requests a second to one origin. The shares of sessions
    #: of the same `job` that run at once add up. None is no limit.
    rate: float | None = None
    #: From when on nothing new is opened, s since 1970; None is never.
    expires_at: float | None = None
    #: Reached without a proxy.
    bypass: tuple[OriginPattern, ...] = ()
    #: DNS servers, address and port.
    dns: tuple[tuple[str, int], ...] = ()
    #: The product and the tag with which each request identifies itself, in its user agent, and a header line
    #: for those that are not in a tunnel.
    product: str = ""
    tag: str = ""
    header: str = ""
    #: Whose traffic it is, for events and reports.
    job: str = ""
    session: int = 0
    attempt: int = 1


class Judgement(NamedTuple):
    """`refusal` is None where it may go on; `third_party` then tells that the origin is not the job's own."""

    refusal: Refusal | None
    third_party: bool = False


def normal_host(text: str) -> str:
    """The one spelling of a host, as browsers have it: lower case, no trailing dot, no brackets; numbers in
    any base are IPv4 addresses, IPv4-mapped addresses are the IPv4 address. `ValueError` for what is none."""
    host = text.lower()
    if host.startswith("["):
        if not host.endswith("]"):
            raise ValueError(f"{text!r} is not a host")
        return _normal_ipv6(host[1:-1])
    if host.count(":") > 1:
        return _normal_ipv6(host)
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"{text!r} is not a host") from None
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise ValueError(f"{text!r} is not a host")
    last = host.rpartition(".")[2]
    # A host that ends in a number is an address, or nothing.
    return _normal_ipv4(host) if _NUMBER.fullmatch(last) else host


def _normal_ipv4(host: str) -> str:
    parts = host.split(".")
    if len(parts) > 4:
        raise ValueError(f"{host!r} is not an address")
    numbers = []
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise ValueError(f"{host!r} is not an address")
        try:
            if part.startswith("0x"):
                numbers.append(int(part[2:] or "0", 16))
            else:
                numbers.append(int(part, 8 if len(part) > 1 and part[0] == "0" else 10))
        except ValueError:
            raise ValueError(f"{host!r} is not an address") from None
    if any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError(f"{host!r} is not an address")
    value = numbers[-1]
    for i, n in enumerate(numbers[:-1]):
        value += n << (8 * (3 - i))
    return str(ipaddress.IPv4Address(value))


def _normal_ipv6(host: str) -> str:
    if "%" in host:
        raise ValueError(f"{host!r} has a zone")
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not an address") from None
    return str(address.ipv4_mapped or address)


def authorised(urls: Iterable[str]) -> frozenset[Origin]:
    """The origins of these URLs, for a policy. `ValueError` for what is no http or https URL."""
    return frozenset(normal_origin(Origin.of(url)) for url in urls)


def normal_origin(origin: Origin) -> Origin:
    """With its host in the one spelling."""
    return origin._replace(host=normal_host(origin.host))


def parse_authority(scheme: str, text: str) -> Origin:
    """The origin of `host` or `host:port`, as in request lines and Host headers. `ValueError`."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            raise ValueError(f"{text!r} is not a host with a port")
        port = rest[1:]
    elif ":" in text:
        host, _, port = text.partition(":")
    if port and (not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535):
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return Origin(scheme, normal_host(host), int(port) if port else _DEFAULT_PORTS[scheme])


def judge(policy: EgressPolicy, origin: Origin, purpose: Purpose) -> Judgement:
    """Whether there may be a connection to `origin`. A tunnel may carry TLS, or a WebSocket without."""
    plain = origin._replace(scheme="http")
    if origin in policy.origins or (purpose == "tunnel" and plain in policy.origins):
        return Judgement(None)
    if purpose != "document" and policy.third_party != "block":
        listed = policy.third_party != "all" and any(
            p.fits(origin) or (purpose == "tunnel" and p.fits(plain)) for p in policy.third_party
        )
        address = as_address(origin.host)
        if listed:
            if address is not None and is_link_local(address):
                return Judgement("private_address")
            return Judgement(None, third_party=True)
        if policy.third_party == "all":
            # An address or a loopback name that is not public must be named by someone.
            if origin.is_loopback or (address is not None and not is_public(address)):
                return Judgement("private_address")
            return Judgement(None, third_party=True)
    return Judgement(_FOREIGN[purpose])


def may_dial(policy: EgressPolicy, origin: Origin, address: IPAddress) -> bool:
    """Whether `origin`, which was judged already, may lead to `address`."""
    host = origin.host
    if as_address(host) is not None:
        return True  # judged as it stands
    if is_loopback_name(host):
        return address.is_loopback
    if host in policy.private_hosts and policy.origins & {origin, origin._replace(scheme="http")}:
        return not is_link_local(address)
    return is_public(address)


def foreign_document(policy: EgressPolicy, url: str) -> str:
    """The origin of `url`, in words, where its pages may not be opened; "" where they may be, and for what is
    at no site (`about:`, `data:`, `blob:`)."""
    if not url.lower().startswith(("http:", "https:")):
        return ""
    try:
        origin = normal_origin(Origin.of(url))
    except ValueError:
        return url
    return "" if origin in policy.origins else str(origin)


def is_loopback_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")
