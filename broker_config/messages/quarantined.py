"""`quarantine.<kind>`: a message that could not be used, kept for a person to look at."""

from __future__ import annotations

import msgspec

from .registration import PROTOCOL

#: Of the message's content so much is kept, bytes.
KEPT_BYTES = 4096


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is the beginning of the content, as text where it is text (`nats stream view QUARANTINE`)."""

    subject: str
    reason: str
    at: float
    #: Who put it here: an orchestrator's name or a runner's id.
    by: str
    size: int
    data: str
    protocol: int = PROTOCOL


def quarantined(subject: str, data: bytes, reason: str, *, at: float, by: str) -> Quarantined:
    """The document of a message that could not be used."""
    return Quarantined(
        subject=subject[:256],
        reason=reason[:500],
        at=at,
        by=by,
        size=len(data),
        data=data[:KEPT_BYTES].decode("utf-8", "backslashreplace"),
    )
