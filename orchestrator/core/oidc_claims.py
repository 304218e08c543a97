"""Who an OpenID provider says it is, and what that makes of them here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from broker_config.people import RESERVED_NAMES, ROLES, Role

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenID provider whose users may log in. It must be told of the address
    `<this server>/api/v1/oidc/callback`."""

    #: Its address, as it stands in its tokens.
    issuer: str
    client_id: str
    #: File with the client's secret; empty where the client is public.
    secret_file: str = ""
    #: The claim that becomes the name of a user who comes for the first time.
    name_claim: str = "preferred_username"
    #: The claim (a text, or a list of texts) that says who has which role; empty: admins say it here.
    role_claim: str = ""
    #: By value of that claim. Who has none of them is not let in.
    roles: dict[str, Role] = {}


def identity(issuer: str, subject: str) -> str:
    """As `User.oidc` holds it."""
    return f"{issuer}|{subject}"


def name_of(claims: Mapping[str, Any], settings: OidcSettings) -> str:
    """A name that a user can have, made of the claim; empty if none can be made of it."""
    found = claims.get(settings.name_claim)
    if not isinstance(found, str):
        return ""
    # Of an address of mail, what stands before the @.
    name = _NOT_IN_NAMES.sub("-", found.partition("@")[0]).strip("-")[:64]
    return "" if name in RESERVED_NAMES else name


def role_of(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """The highest role that the claim gives; None if it gives none. Without a claim of roles: viewer, for
    who comes for the first time."""
    if not settings.role_claim:
        return "viewer"
    found = claims.get(settings.role_claim)
    values = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    given = [settings.roles[v] for v in values if isinstance(v, str) and v in settings.roles]
    return max(given, key=ROLES.index, default=None)
