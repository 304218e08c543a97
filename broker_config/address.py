"""IP addresses: which are public, and which are never a site's."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SHARED = ipaddress.ip_network("100.64.0.0/10")
#: IPv6 forms that carry an IPv4 address to which they lead.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Where clouds serve a machine's credentials, beside the link-local addresses.
_METADATA = {
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")
}


def as_address(host: str) -> IPAddress | None:
    """The address that a host is, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: IPAddress) -> bool:
    """False for loopback, private, link-local (metadata services), shared, multicast and reserved ones."""
    if (inner := _carried(address)) is not None:
        return is_public(inner)
    if address in _METADATA:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return False
    elif address in _SHARED:
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    )


def is_link_local(address: IPAddress) -> bool:
    """True for link-local ones, and for others at which clouds serve metadata of their machines."""
    return (_carried(address) or address).is_link_local or (_carried(address) or address) in _METADATA


def leads_to(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one carries (mapped, 6to4, NAT64), or the address itself."""
    return _carried(address) or address


def _carried(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner
