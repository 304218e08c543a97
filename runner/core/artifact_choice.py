"""Which session records what, and of which it is kept. Pure: the same on every machine."""

from __future__ import annotations

import hashlib

import msgspec

from broker_config.artifacts import KINDS, ArtifactKind, Artifacts
from broker_config.messages import Dispatch
from broker_config.secret_ref import secret_name

#: Recording them makes a session slower by more than half.
COSTLY: frozenset[ArtifactKind] = frozenset({"trace", "video"})
_NOTHING: frozenset[ArtifactKind] = frozenset()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """`kinds` are what the session records; it is kept if the session failed, or in any case (`always`)."""

    kinds: frozenset[ArtifactKind] = _NOTHING
    always: bool = False
    mask: bool = True

    def keeps(self, *, failed: bool) -> frozenset[ArtifactKind]:
        return self.kinds if failed or self.always else _NOTHING


def choose(dispatch: Dispatch) -> Choice:
    """What this attempt at a session records. What costs much: only where it is kept in any case, or where
    an earlier attempt has failed."""
    wanted = dispatch.artifacts
    if wanted is None:
        return Choice()
    always = wanted.when == "always" or is_sampled(wanted, dispatch.seed, dispatch.session)
    kinds = frozenset(wanted.keep)
    if not always and dispatch.attempt == 1:
        kinds -= COSTLY
    return Choice(kinds=kinds, always=always, mask=wanted.mask or has_secrets(dispatch))


def has_secrets(dispatch: Dispatch) -> bool:
    """Whether stored secrets are filled in: what is recorded must not show them, whatever the job wants."""
    return any(secret_name(n) is not None for n in dispatch.variables)


def is_sampled(wanted: Artifacts, seed: int, session: int) -> bool:
    """Whether the session belongs to the sample. `seed` is the session's, which is made of the job's."""
    if wanted.when != "sample":
        return False
    drawn = hashlib.sha256(f"{seed}.{session}.artifacts".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < wanted.sample * 2**64


def rank(kind: str) -> int:
    """Where there is no room for all: the lower go first."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)
