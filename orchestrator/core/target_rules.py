"""Which origins a project may send traffic to, and which addresses they may lead to. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Literal, NamedTuple

from broker_config.address import IPAddress, as_address, is_link_local, is_public, leads_to
from broker_config.job_spec import JobSpec
from broker_config.origin import Origin
from broker_config.target_proof import Target, normal

#: Kinds of addresses, the most dangerous first. `private` are those of inner networks (also unique local,
#: site-local); `shared` is that of carriers (CGNAT); `reserved` is all that no site has.
AddressKind = Literal["metadata", "link-local", "loopback", "shared", "private", "reserved", "public"]

ANY = "*"
#: A proof that was seen so lately counts as seen now, s: what was checked at submission is not checked again
#: when the job begins a moment later.
FRESH = 60.0
#: How often it is checked while a job runs, and how long after a try that came to nothing it is tried once
#: more, s.
RECHECK = 3600.0
RETRY = 60.0

_SHARED = ipaddress.ip_network("100.64.0.0/10")
_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
#: A translation prefix of some inner network: where it leads is not known.
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


def kind_of(address: IPAddress) -> AddressKind:
    """What an address is, or what the one is that it carries."""
    found = leads_to(address)
    if found.is_link_local:
        # The metadata service of most clouds is at one of them.
        return "metadata" if str(found) == "169.254.169.254" else "link-local"
    if is_link_local(found):
        return "metadata"
    if found.is_loopback:
        return "loopback"
    if isinstance(found, ipaddress.IPv4Address):
        if found in _SHARED:
            return "shared"
        if any(found in network for network in _PRIVATE):
            return "private"
    elif found in _UNIQUE_LOCAL or found.is_site_local:
        return "private"
    elif found in _LOCAL_NAT64:
        return "reserved"
    return "public" if is_public(found) else "reserved"


def address_problem(address: IPAddress, *, granted: bool, loopback_free: bool) -> str:
    """Why a name may not lead to this address, in words; empty if it may. `granted`: an admin has allowed
    what is not public."""
    kind = kind_of(address)
    if kind == "public" or (kind == "loopback" and loopback_free):
        return ""
    if kind in ("metadata", "link-local", "reserved"):
        return f"{address} is a {kind} address, which no name may lead to"
    return "" if granted else f"{address} is a {kind} address, which takes the grant of an admin"


class Standing(NamedTuple):
    """Whether an origin may be used. `problem` says in words why not, empty where it may; `proof` that a
    target stands for it whose proof has to be fresh."""

    problem: str = ""
    proof: bool = False
    #: Whether it may lead to addresses that are not public.
    private: bool = False


class Grounds:
    """What holds for all projects. `allowed` holds origins or `*`, the operator's own grant: what is listed
    may lead to private addresses too. With `loopback_free` loopback needs nobody's leave."""

    def __init__(self, allowed: Collection[str] = (), *, loopback_free: bool = True) -> None:
        self.everything = ANY in allowed
        self.allowed = frozenset(normal_origin(a) for a in allowed if a != ANY)
        self.loopback_free = loopback_free

    def frees(self, origin: Origin) -> bool:
        """Whether the origin needs no target."""
        return self.allows(origin) or (self.loopback_free and origin.is_loopback)

    def allows(self, origin: Origin) -> bool:
        """Whether the operator has named it. `*` stands for no link-local or metadata address."""
        if origin in self.allowed:
            return True
        address = as_address(origin.host)
        return self.everything and (address is None or not is_link_local(address))


def standing(origin: Origin, project: str, grounds: Grounds, target: Target | None) -> Standing:
    """Whether the project may use the origin, as far as is known without asking anybody; `target` is the one
    that it has of this origin."""
    if grounds.frees(origin):
        return Standing(private=grounds.allows(origin))
    address = as_address(origin.host)
    if address is not None and kind_of(address) == "metadata":
        return Standing(f"{origin} is where clouds keep the credentials of their machines; it is no target")
    if target is None:
        return Standing(
            f"{origin} is no target of project {project}: `tb targets add {origin}{_of(project)}` says how "
            "to prove that it is yours"
        )
    granted = target.grant is not None
    takes_grant = origin.is_loopback or (address is not None and kind_of(address) != "public")
    if takes_grant and not granted:
        what = kind_of(address) if address is not None else "loopback"
        return Standing(
            f"{origin} is a {what} address, which takes the grant of an admin: "
            f"`tb targets grant {origin}{_of(project)}`"
        )
    if target.grant is not None and target.grant.without_proof:
        return Standing(private=True)
    if target.state != "verified":
        why = (
            "is not proved yet" if target.state == "pending" else f"is not proved any more ({target.detail})"
        )
        return Standing(
            f"{origin} {why}: `tb targets verify {origin}{_of(project)}` looks again, "
            f"`tb targets list{_of(project)}` shows what to put where",
            proof=True,
            private=granted,
        )
    return Standing(proof=True, private=granted)


def is_fresh(target: Target, now: float, within: float = FRESH) -> bool:
    """Whether its proof was seen so lately that it need not be looked at again."""
    return target.state == "verified" and 0 <= now - target.verified_at < within


def origins_of(spec: JobSpec) -> dict[str, Origin]:
    """Each origin whose pages the job may open, by the first place where it stands."""
    asked = [(f"targets[{i}].url", t.url) for i, t in enumerate(spec.targets)]
    asked += [(f"origins[{i}]", text) for i, text in enumerate(spec.origins)]
    found: dict[Origin, str] = {}
    for where, url in asked:
        found.setdefault(normal_origin(url), where)
    return {where: origin for origin, where in found.items()}


def normal_origin(url: str) -> Origin:
    """The origin of a URL, its address in the one spelling; `ValueError` for what is no URL."""
    try:
        return Origin.of(normal(url))
    except ValueError:
        return Origin.of(url)


def _of(project: str) -> str:
    return "" if project == "default" else f" --project {project}"
