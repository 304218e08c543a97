"""`audit.entry`: who did what, from where, to what, with what result, and the hash of the entry before.

What is stored is the canonical form: one JSON object in UTF-8, its keys sorted, without spaces; `hash` is
the SHA-256, in hexadecimal, of the same without the key `hash`. Plain `json` and `hashlib` can check it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

#: `ok`: it was done. `refused`: it was not allowed, or too often. `failed`: it was allowed, and did not work.
AuditResult = Literal["ok", "refused", "failed"]
#: `previous` of the first entry.
NO_ENTRY = "0" * 64


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts from 1 and is the sequence of the stream AUDIT."""

    number: int
    #: When it was noted, seconds since 1970, in whole milliseconds.
    at: float
    #: One of `broker_config.audit_actions`.
    action: str
    result: AuditResult
    #: Name of who did it (a user, a runner), and what that is: `anonymous`, `user`, `token`, `local`,
    #: `runner`, `orchestrator`.
    actor: str = ""
    kind: str = ""
    #: Id of the token or login by which it was done; never the secret itself.
    credential: str = ""
    #: Where it came from.
    address: str = ""
    #: What it was done to (an id, a name), and the project of that.
    object: str = ""
    project: str = ""
    #: Why it was refused or failed, or what else there is to say.
    detail: str = ""
    #: So many times alike: refusals in great number are one entry.
    times: int = 1
    #: The orchestrator that noted it.
    by: str = ""
    previous: str = NO_ENTRY
    hash: str = ""


def canonical(fields: Mapping[str, Any]) -> bytes:
    """The one form in which an entry is stored, and of which, without `hash`, the hash is taken."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(fields: Mapping[str, Any]) -> str:
    """The hash of the entry with these fields; its own field `hash` does not count."""
    return hashlib.sha256(canonical({k: v for k, v in fields.items() if k != "hash"})).hexdigest()
