"""Whose dispatches a runner runs: those that an orchestrator has signed, not long ago."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from broker_config.errors import SettingsError
from broker_config.grant import Grant, GrantRefused, SignedGrant
from broker_config.messages import Dispatch, RunnerSettings
from broker_config.messages.dispatch import DISPATCH_LIFE
from broker_config.signature import SignatureRefused, Verifier
from runner.core.egress_policy import authorised

from .delivery import Delivery

log = logging.getLogger(__name__)


class Trust:
    """`fixed` are keys that the runner's own credential names: they are asked for each time, and where there
    are some, nothing else counts. Else those of the last registration count, from the first that names some
    on: a later one that names none changes nothing. `clock` gives seconds since 1970."""

    def __init__(self, *, clock: Callable[[], float], fixed: Callable[[], Sequence[str]] = tuple) -> None:
        self._clock = clock
        self._fixed = fixed
        self._told: tuple[str, ...] = ()
        self._verifier: Verifier | None = None
        self._verifies: tuple[str, ...] = ()
        #: How much the orchestrators' clocks are ahead of this machine's, s.
        self._ahead = 0.0

    def learn(self, settings: RunnerSettings) -> None:
        """Take in the answer to a registration, as it comes."""
        if settings.now:
            self._ahead = settings.now - self._clock()
        if settings.dispatch_keys:
            try:
                Verifier(settings.dispatch_keys)
            except SettingsError as e:
                log.error("the keys of dispatches that an orchestrator has told cannot be used: %s", e)
                return
            self._told = tuple(settings.dispatch_keys)

    def check(self, delivery: Delivery) -> None:
        """Whether it comes from an orchestrator, before anything in it is read. Raises `SignatureRefused`."""
        if (verifier := self._verifier_of(self._keys())) is not None:
            verifier.verify(delivery.subject, delivery.data, delivery.headers)

    def granted(self, dispatch: Dispatch) -> Dispatch:
        """The dispatch, its grant as it holds by this machine's clock. Raises `MessageError`: `GrantRefused`
        where there is none that holds for it, though one is asked for."""
        if dispatch.grant is None:
            if self._keys():
                raise GrantRefused("the session brings no grant of its job")
            return dispatch
        grant = self.grant(dispatch.job, dispatch.grant)
        if grant.project != dispatch.project:
            raise GrantRefused(f"the grant is one of project {grant.project}")
        try:
            first = authorised([dispatch.url])
            foreign = first - authorised(grant.origins)
        except ValueError as e:
            raise GrantRefused(f"it cannot be read where the session may go: {e}") from None
        if foreign:
            raise GrantRefused(f"{next(iter(foreign))} is not among the origins that were granted to the job")
        return msgspec.structs.replace(dispatch, grant=SignedGrant.plain(grant))

    def grant(self, job: str, signed: SignedGrant) -> Grant:
        """A grant of that job, by this machine's clock. Raises as `granted`."""
        verifier = self._verifier_of(self._keys())
        grant = signed.verified(job, verifier) if verifier is not None else signed.read()
        if grant.job != job:
            raise GrantRefused(f"the grant is one of job {grant.job}")
        expires = grant.expires_at - self._ahead
        if (late := self._clock() - expires) >= 0:
            raise GrantRefused(f"the grant of the job ended {late:.0f} s ago")
        return msgspec.structs.replace(grant, expires_at=expires)

    def _keys(self) -> tuple[str, ...]:
        return tuple(self._fixed()) or self._told

    def _verifier_of(self, keys: tuple[str, ...]) -> Verifier | None:
        if not keys:
            return None
        if self._verifier is None or keys != self._verifies:
            self._verifier, self._verifies = Verifier(keys), keys
        return self._verifier

    def check_age(self, dispatch: Dispatch) -> None:
        """Raises `SignatureRefused`: it was sent too long ago, and may be somebody's copy."""
        if not dispatch.issued_at:
            return
        age = self._clock() + self._ahead - dispatch.issued_at
        if age > DISPATCH_LIFE:
            raise SignatureRefused(f"it was sent {age:.0f} s ago, which is more than {DISPATCH_LIFE:.0f} s")
