"""The grant of a job: where its sessions may go, for how long, signed by the orchestrators.

It travels with each dispatch, and anew to sessions that run when it is renewed. A runner goes by what
dispatch and grant allow both.
"""

from __future__ import annotations

import msgspec

from . import codec
from .egress import ThirdParty
from .errors import MessageError
from .people import DEFAULT_PROJECT
from .signature import KEY_HEADER, SIGNATURE_HEADER, Signer, Verifier
from .subjects import token


class GrantRefused(MessageError):
    """A session brings no grant that holds for it."""


class Ceiling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of an origin, for all jobs together: sessions at once, requests a second. None is no ceiling."""

    sessions: int | None = None
    rate: float | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times in seconds since 1970, by the clock of the orchestrators."""

    job: str
    expires_at: float
    issued_at: float = 0.0
    project: str = DEFAULT_PROJECT
    #: Where pages may be opened.
    origins: list[str] = []
    #: Hosts of these that may lead to addresses that are not public.
    private_hosts: list[str] = []
    #: By origin.
    ceilings: dict[str, Ceiling] = {}
    third_party: ThirdParty = "block"


class SignedGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`body` is the grant as JSON, to the byte as it was signed; `signature` and `key` as in the headers of
    signed messages. Without them it is what the holder itself says."""

    body: str
    signature: str = ""
    key: str = ""

    @classmethod
    def plain(cls, grant: Grant) -> SignedGrant:
        return cls(body=codec.encode(grant).decode())

    @classmethod
    def of(cls, grant: Grant, signer: Signer) -> SignedGrant:
        body = codec.encode(grant)
        headers = signer.headers(_subject(grant.job), body)
        return cls(body=body.decode(), signature=headers[SIGNATURE_HEADER], key=headers[KEY_HEADER])

    def read(self) -> Grant:
        """What it says; nobody has looked at its signature then. Raises `MessageError`."""
        return codec.decode(self.body.encode(), Grant)

    def verified(self, job: str, verifier: Verifier) -> Grant:
        """The grant, if it was signed for this job. Raises `MessageError`: `SignatureRefused` for what no
        orchestrator has signed so."""
        headers = {SIGNATURE_HEADER: self.signature, KEY_HEADER: self.key}
        verifier.verify(_subject(job), self.body.encode(), headers)
        return self.read()


def _subject(job: str) -> str:
    # Of no message: a dispatch cannot pass for a grant, nor the other way about.
    return f"grant.{token(job, 'job id')}"
