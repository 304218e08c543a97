"""Makes and signs the grants of jobs: one for each set of origins that sessions of a job may open."""

from __future__ import annotations

from broker_config.grant import Grant, SignedGrant
from broker_config.messages import Dispatch
from broker_config.messages.dispatch import DISPATCH_LIFE
from broker_config.origin import Origin
from broker_config.signature import Signer

from .target_guard import TargetGuard
from .target_watch import Times

#: A grant is used for dispatches of so much of its life; then a new one is made, s.
_USED = 60.0
_MAX_KEPT = 2_000


class JobGrants:
    """`guard` knows what may be private and how much is too much; without it nothing is private."""

    def __init__(
        self, signer: Signer, guard: TargetGuard | None = None, *, times: Times | None = None
    ) -> None:
        self._signer = signer
        self._guard = guard
        #: It outlives the next check, and the time for which a dispatch may wait.
        self._life = (times or Times()).life + DISPATCH_LIFE
        self._kept: dict[tuple[str, str, tuple[str, ...]], tuple[float, int, SignedGrant]] = {}

    def of(self, dispatch: Dispatch, now: float) -> SignedGrant:
        """A grant for that session, and others to the same origins."""
        first = str(Origin.of(dispatch.url))
        key = (dispatch.job, first, tuple(dispatch.origins))
        version = self._guard.store.version if self._guard is not None else 0
        kept = self._kept.pop(key, None)
        if kept is None or kept[1] != version or not 0 <= now - kept[0] < _USED:
            kept = (now, version, SignedGrant.of(self._grant(dispatch, first, now), self._signer))
        self._kept[key] = kept  # the last used stands last
        if len(self._kept) > _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept[2]

    def _grant(self, dispatch: Dispatch, first: str, now: float) -> Grant:
        origins = sorted({first, *(str(Origin.of(o)) for o in dispatch.origins)})
        guard = self._guard
        return Grant(
            job=dispatch.job,
            project=dispatch.project,
            origins=origins,
            private_hosts=guard.private_hosts(dispatch.project, origins) if guard is not None else [],
            ceilings=guard.ceilings(dispatch.project, origins) if guard is not None else {},
            third_party=dispatch.third_party,
            issued_at=now,
            expires_at=now + self._life,
        )
