"""`runner.secret`: a runner asks for what one of its sessions needs and nobody else may read.

The answer is a `SecretReply` in words, or, with the header `SEALED`, a `SecretBundle` that only the holder of
the request's one-time key can open (`broker_config.envelope`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.proxy_pool import ProxyPool

from .registration import own_protocol

#: Header of an answer that is sealed.
SEALED = "TB-Sealed"
#: `secrets`: those that the job names. `proxies`: those by which its sessions leave. `trial`: those that an
#: order to test proxies is about.
SecretKind = Literal["secrets", "proxies", "trial"]
#: `refused`: it will not get them. `missing`: they are not there (any more). `unavailable`: the same may work
#: in a moment.
SecretRefusal = Literal["refused", "missing", "unavailable"]


class SecretRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For one attempt at a session on a platform; `ticket` stands in its place where a trial is meant.

    `key` is an X25519 public key that is used once. `known` is the revision of the pool that the runner has:
    if it is still that one, the answer leaves the pool out.
    """

    runner: str
    instance: str
    key: bytes
    want: SecretKind = "secrets"
    job: str = ""
    session: int = 0
    attempt: int = 0
    platform: str = ""
    known: int = 0
    ticket: bytes = b""
    protocol: int = msgspec.field(default_factory=own_protocol)


class SecretReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is nothing, in words."""

    refusal: SecretRefusal
    detail: str = ""


class SecretBundle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is in the envelope. `job` is that of the request. Its repr shows nothing."""

    job: str = ""
    secrets: dict[str, str] = {}
    pool: ProxyPool | None = None
    revision: int = 0

    def __repr__(self) -> str:
        return f"SecretBundle(job={self.job!r}, …)"
