"""Targets as the bucket `targets` keeps them: origins that a project may send traffic to, and how it has
proved that they are its own.

Keys: `<project>.<id>`, where the id is a hash of the origin. The token of each is its own, so that what one
project has put on a site proves nothing for another.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .address import as_address
from .origin import Origin
from .subjects import token

#: `file`: under `WELL_KNOWN`; `dns`: a TXT record; `meta`: an element of the front page.
ProofMethod = Literal["file", "dns", "meta"]
METHODS: tuple[ProofMethod, ...] = ("file", "dns", "meta")
#: `pending`: not proved yet; `verified`: it was, and no check has said otherwise since; `failed`: one has.
ProofState = Literal["pending", "verified", "failed"]

WELL_KNOWN = "/.well-known/trafficbuster-verification.txt"
META_NAME = "trafficbuster-verification"
#: In front of the host.
TXT_LABEL = "_trafficbuster"

Sessions = Annotated[int, Meta(ge=1, le=1_000_000)]
#: Requests a second.
Rate = Annotated[float, Meta(gt=0, le=1_000_000)]


class TargetGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an admin has allowed: that the origin leads to addresses that are not public; with
    `without_proof` also that it is used though nobody has proved it."""

    by: str = ""
    at: float = 0.0
    without_proof: bool = False


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times in seconds since 1970. `method` is the one that has proved it, None before that."""

    origin: str
    project: str
    token: str
    method: ProofMethod | None = None
    state: ProofState = "pending"
    added_at: float = 0.0
    added_by: str = ""
    #: When it was last seen to be proved; 0 for never.
    verified_at: float = 0.0
    #: When it was last tried, whatever came of it; 0 for never.
    checked_at: float = 0.0
    #: What the last try has found, in words; empty where it was proved.
    detail: str = ""
    grant: TargetGrant | None = None
    #: Ceilings of the origin, for all jobs together: sessions at once, requests a second.
    sessions: int | None = None
    rate: float | None = None

    @property
    def id(self) -> str:
        return target_id(self.origin)

    @property
    def key(self) -> str:
        return target_key(self.project, self.origin)


def normal(url: str) -> str:
    """The origin of an absolute URL in its one spelling. `ValueError`, in words, for no target."""
    origin = Origin.of(url)
    address = as_address(origin.host)
    if address is None and _is_number(origin.host.rpartition(".")[2]):
        raise ValueError(f"{origin.host!r} is no name, and no address as it is usually written")
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None)
        origin = origin._replace(host=str(mapped or address))
    return str(origin)


def _is_number(label: str) -> bool:
    """Browsers take a host whose last label is one for an IPv4 address."""
    return label.isdigit() or (label.startswith("0x") and all(c in "0123456789abcdef" for c in label[2:]))


def target_id(origin: str) -> str:
    """Of an origin in its one spelling."""
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def target_key(project: str, origin: str) -> str:
    return f"{token(project, 'project')}.{target_id(origin)}"


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One way to prove an origin: what goes where."""

    method: ProofMethod
    where: str
    what: str


def placements(origin: str, token: str) -> list[Placement]:
    """What to put where, by each of the methods that fit the origin."""
    host = Origin.of(origin).host
    found = [Placement(method="file", where=f"{origin}{WELL_KNOWN}", what=token)]
    if as_address(host) is None:
        found.append(Placement(method="dns", where=f"TXT record of {TXT_LABEL}.{host}", what=token))
    element = f'<meta name="{META_NAME}" content="{token}">'
    return [*found, Placement(method="meta", where=f"in the <head> of {origin}/", what=element)]


# --- /projects/{project}/targets ----------------------------------------------------------------------------


class TargetNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`origin` is scheme, host and port, such as `https://shop.example`; of a whole URL only that counts."""

    origin: Annotated[str, Meta(max_length=2000)]


class TargetCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a `method` all that fit are tried."""

    method: ProofMethod | None = None


class TargetCeilings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is; null is no ceiling."""

    sessions: Sessions | msgspec.UnsetType | None = msgspec.UNSET
    rate: Rate | msgspec.UnsetType | None = msgspec.UNSET


class TargetAllowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in `TargetGrant`."""

    without_proof: bool = False


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is its name in paths. `put` says what to put where to prove it."""

    id: str
    origin: str
    project: str
    state: ProofState
    method: ProofMethod | None = None
    added_at: float = 0.0
    added_by: str = ""
    verified_at: float = 0.0
    checked_at: float = 0.0
    detail: str = ""
    grant: TargetGrant | None = None
    sessions: int | None = None
    rate: float | None = None
    put: list[Placement] = []

    @classmethod
    def of(cls, target: Target) -> TargetView:
        return cls(
            id=target.id,
            origin=target.origin,
            project=target.project,
            state=target.state,
            method=target.method,
            added_at=target.added_at,
            added_by=target.added_by,
            verified_at=target.verified_at,
            checked_at=target.checked_at,
            detail=target.detail,
            grant=target.grant,
            sessions=target.sessions,
            rate=target.rate,
            put=placements(target.origin, target.token),
        )


class TargetPage(msgspec.Struct, frozen=True, kw_only=True):
    """By origin."""

    items: list[TargetView]


class RemovedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The target that is no more."""

    project: str
    origin: str
