"""`runner.renew.<runner>`: a runner asks for a credential that holds longer than the one it has."""

from __future__ import annotations

import msgspec

from broker_config.enrolment import RunnerGrant

from .registration import own_protocol


class RenewRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`key` is the public key of the runner's pair."""

    runner: str
    key: str
    protocol: int = msgspec.field(default_factory=own_protocol)


class RenewReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the two: the new credential, or why there is none, in words. With `final` asking again will not
    help."""

    grant: RunnerGrant | None = None
    refusal: str = ""
    final: bool = False
