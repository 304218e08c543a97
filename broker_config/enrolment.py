"""How runners come by credentials: invites, what a runner sends to join, what it is granted.

The bucket `enrolment` keeps `invite.<id>` and `runner.<name>`. Of an invite's token only a hash is kept; the
token itself is `tbj_<id>_<secret>`, shown once. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .duration import Duration

#: What every token of an invite begins with.
TOKEN_PREFIX = "tbj_"
#: Bounds of an invite.
MAX_USES = 10_000
MIN_TTL, MAX_TTL = 10.0, 30 * 86_400.0
#: How long a credential holds, s; a runner renews it when this share of the time is over.
CREDENTIAL_LIFE = 30 * 86_400.0
RENEW_AT = 0.75

Platforms = Annotated[list[str], Meta(max_length=50)]


class Invite(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document. `platforms` empty are all of them; `scripts`: also sessions with scripts of users."""

    id: str
    secret_hash: str
    uses: int
    used: int = 0
    expires_at: float
    pool: str | None = None
    platforms: list[str] = []
    scripts: bool = False
    made_by: str = ""
    made_at: float = 0.0


class EnrolledRunner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document: a name and the public key that it is bound to. Once `revoked_at` is set the key is of no
    more use; the name is free for another one."""

    runner: str
    key: str
    invite: str
    pool: str | None = None
    platforms: list[str] = []
    scripts: bool = False
    address: str = ""
    joined_at: float = 0.0
    #: End of the last credential that was granted.
    expires_at: float = 0.0
    revoked_at: float | None = None
    revoked_by: str = ""


class RevokedKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document `revoked.<key>`. No token of the key holds that was issued before `until`; after it none
    holds anyway."""

    runner: str
    until: float


class InviteOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /runner-invites`: for `uses` machines, within `ttl`."""

    uses: Annotated[int, Meta(ge=1, le=MAX_USES)] = 1
    ttl: Duration = msgspec.field(default_factory=lambda: Duration(600))
    pool: str | None = None
    platforms: Platforms = []
    scripts: bool = False


class InviteView(msgspec.Struct, frozen=True, kw_only=True):
    """An invite without its token."""

    id: str
    uses: int
    used: int
    expires_at: float
    pool: str | None = None
    platforms: list[str] = []
    scripts: bool = False
    made_by: str = ""
    made_at: float = 0.0


class InviteList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; those whose time is over are gone."""

    items: list[InviteView]


class NewInvite(msgspec.Struct, frozen=True, kw_only=True):
    """The only time that the token is told."""

    invite: InviteView
    token: str


class RunnerJoin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /runner-join`: the token of an invite, and the public key of a pair that the runner has made.

    `signature` (base64) is by that key, over `joined(token, runner)`: nobody joins with a key that is not
    theirs.
    """

    token: Annotated[str, Meta(max_length=200)]
    runner: Annotated[str, Meta(max_length=64)]
    key: Annotated[str, Meta(max_length=64)]
    signature: Annotated[str, Meta(max_length=100)]


class RunnerGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A credential: `token` is what the broker is shown, with a proof by the runner's own key.

    A host of `nats` that is `0.0.0.0` or `::` stands for the one at which the orchestrator was reached.
    """

    runner: str
    token: str
    nats: list[str]
    issued_at: float
    expires_at: float
    pool: str | None = None
    platforms: list[str] = []
    scripts: bool = False
    #: Keys that sign dispatched sessions.
    dispatch_keys: list[str] = []
    #: Certificate by which the broker is known, PEM; empty: those of the system.
    ca: str = ""


class RunnerRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """The runner's credential is of no more use."""

    runner: str
    revoked_at: float


class InviteRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """The invite that is no more."""

    id: str


def joined(token: str, runner: str) -> bytes:
    """What a runner signs to show that the key is its own."""
    return f"trafficbuster join 1\n{runner}\n{token}".encode()
