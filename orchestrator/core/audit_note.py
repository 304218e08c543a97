"""What there is to note: an entry of the audit log before it has its place in the chain."""

from __future__ import annotations

import msgspec

from broker_config.messages import AuditResult


class AuditNote(msgspec.Struct, frozen=True, kw_only=True):
    """As the fields of `broker_config.messages.AuditEntry`. Secrets have no business in it."""

    action: str
    result: AuditResult = "ok"
    actor: str = ""
    kind: str = ""
    credential: str = ""
    address: str = ""
    object: str = ""
    project: str = ""
    detail: str = ""
    times: int = 1
