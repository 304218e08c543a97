"""One slot: takes a session, runs it, tells how it ended; over and over."""

from __future__ import annotations

import asyncio
import logging
import traceback
from functools import partial
from typing import Protocol

import msgspec

from broker_config import codec
from broker_config.errors import EgressUnavailable, MessageError, NameRefused, SecretUnavailable
from broker_config.messages import (
    PROTOCOL,
    PROTOCOL_OLDEST,
    Dispatch,
    ErrorInfo,
    SessionRecord,
    quarantined,
)
from broker_config.signature import SignatureRefused
from broker_config.subjects import token
from runner.core import retry, start
from runner.core.masking import SecretMask
from runner.core.outcome import Outcome

from .artifact_store import ArtifactStore, discard
from .clock import Clock
from .delivery import Delivery
from .executor import Executor
from .faults import Faults
from .job_secrets import JobSecrets
from .job_talk import JobTalk
from .lease_keeper import Held, LeaseKeeper
from .link import Link
from .outbox import Outbox
from .pools import Pools
from .result import Result
from .running import Run, Running
from .trust import Trust

log = logging.getLogger(__name__)

#: Pause before a session is tried again after a fault of the infrastructure, s.
RETRY_DELAY = 1.0


class Shared(Protocol):
    """What all slots of a runner share."""

    runner: str
    instance: str
    clock: Clock
    link: Link
    executor: Executor
    running: Running
    leases: LeaseKeeper
    outbox: Outbox
    talk: JobTalk
    faults: Faults
    trust: Trust
    pools: Pools
    secrets: JobSecrets
    artifacts: ArtifactStore

    @property
    def allow_scripts(self) -> bool: ...
    @property
    def taking(self) -> bool:
        """False when the runner starts nothing more: it is paused, or ends."""
        ...

    def quarantine(self, kind: str) -> str:
        """The subject for messages of that kind that this runner cannot use."""
        ...

    def is_cancelled(self, job: str) -> bool: ...
    def is_killed(self, dispatch: Dispatch) -> bool: ...
    def saturated_since(self, then: float) -> bool: ...


class Slot:
    """`take` is called with one delivery at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def take(self, delivery: Delivery) -> None:
        """Returns when the delivery is answered, given up, or its result is on disk."""
        s = self._shared
        held = s.leases.take(delivery)
        try:
            result = await self._result(delivery, held)
        except BaseException:
            s.leases.release(held)
            raise
        if result is None:
            s.leases.release(held)
        else:
            await s.outbox.deliver(result, held)

    async def _result(self, delivery: Delivery, held: Held) -> Result | None:
        """What to report; None if there is nothing to."""
        s = self._shared
        if s.leases.lost(held):
            return None
        if not s.taking:
            await delivery.hand_back(s.link)
            return None
        try:
            s.trust.check(delivery)
            dispatch = _read(delivery)
            s.trust.check_age(dispatch)
        except MessageError as e:
            s.faults.malformed += 1
            s.faults.forged += isinstance(e, SignatureRefused)
            log.warning("a dispatched message is rejected, nobody will get it: %s", e)
            kept = quarantined(delivery.subject, delivery.data, str(e), at=s.clock.wall(), by=s.runner)
            await s.link.send(s.quarantine("dispatch"), codec.encode(kept))
            await delivery.reject(s.link)
            return None
        if earlier := s.outbox.earlier(dispatch.job, dispatch.session):
            # Its ack was lost. The message id is the same: the stream keeps one record.
            return msgspec.structs.replace(earlier, ack=delivery.reply)
        refused: Outcome | None = None
        try:
            dispatch = s.trust.granted(dispatch)
        except MessageError as e:
            log.warning("session %d of job %s is not started: %s", dispatch.session, dispatch.job, e)
            why = ErrorInfo(kind="origin_refused", detail=f"not started: {e}"[:300])
            refused = Outcome(status="failed", error=why)
        run = Run(dispatch, held, since=s.clock.wall(), began=s.clock.lease())
        if s.is_cancelled(dispatch.job) or s.is_killed(dispatch):
            outcome: Outcome | None = Outcome(status="cancelled")
        elif refused is not None:
            outcome = refused
        else:
            outcome = await self._execute(run)
        if s.leases.lost(held):
            # Someone else has it now, or will: it is theirs to report, and an answer of ours would hit them.
            log.warning("session %d of job %s is given up: its lease is lost", dispatch.session, dispatch.job)
            return None
        if outcome is None and run.reason == "handed_back":
            await delivery.hand_back(s.link)
            return None
        outcome = outcome or Outcome(status="cancelled", duration_ms=1000 * (s.clock.lease() - run.began))
        error, attempt = outcome.error, dispatch.attempt
        if error and self._again(dispatch, error) and not s.is_cancelled(dispatch.job):
            s.faults.note(dispatch.job, dispatch.session, error.kind)
            s.talk.say(dispatch, "retry", f"{error.kind}: {error.detail}", "warning")
            await delivery.hand_back(s.link, RETRY_DELAY)
            return None
        error = retry.final_error(error, s.faults.take(dispatch.job, dispatch.session), attempt)
        record = self._record(run, outcome, error)
        text = f"{record.status}: {error.kind}" if error else record.status
        s.talk.say(dispatch, "finished", text, "warning" if record.status == "failed" else "info")
        return Result.of(record, delivery.reply)

    async def _execute(self, run: Run) -> Outcome | None:
        """None if it was ended from outside."""
        s = self._shared
        dispatch = run.dispatch
        outcome: Outcome | None = None
        mask = SecretMask(dispatch)
        run.held.on_lost = run.lease_lost
        s.running.add(run)
        if dispatch.start_at is None:
            s.talk.say(dispatch, "started")
        try:
            with run:
                if dispatch.script is not None and not s.allow_scripts:
                    return _no_scripts()
                async with s.secrets.given(dispatch) as given:
                    mask = SecretMask(given)
                    pool = await s.pools.of(dispatch)
                    if dispatch.start_at is not None and not await self._is_time(run):
                        # Its time has passed, or it comes when nothing may start here any more.
                        return Outcome(status="dropped") if run.reason is None else None
                    say = partial(self._say, dispatch, mask)
                    outcome = mask.outcome(await s.executor.run(given, say, pool))
            if outcome is not None:
                await self._keep(run, outcome)
        except SecretUnavailable as e:
            error = ErrorInfo(kind="secret_unavailable", detail=str(e)[:300], infrastructure=True)
            outcome = Outcome(status="failed", error=error, duration_ms=1000 * (s.clock.lease() - run.began))
        except EgressUnavailable as e:
            error = ErrorInfo(kind="egress_failed", detail=str(e), infrastructure=True)
            outcome = Outcome(status="failed", error=error, duration_ms=1000 * (s.clock.lease() - run.began))
        except Exception as e:
            trace = mask(traceback.format_exc())
            log.error(
                "session %d of job %s broke the runner's own code\n%s", dispatch.session, dispatch.job, trace
            )
            detail = mask(f"{type(e).__name__}: {e}")[:300]
            error = ErrorInfo(kind="runner_error", detail=detail, infrastructure=True)
            outcome = Outcome(status="failed", error=error, duration_ms=1000 * (s.clock.lease() - run.began))
        finally:
            run.held.on_lost = None
            s.running.remove(run)
            if outcome is not None:
                discard(outcome.artifacts)
        # What was ended from outside did not fail by itself.
        return outcome if run.reason is None or (outcome and outcome.status == "ok") else None

    async def _is_time(self, run: Run) -> bool:
        """Wait for the session's time; False if it must not start."""
        s, d = self._shared, run.dispatch
        while True:
            wait = start.pause(d.start_at, d.late_limit, s.clock.wall())
            if wait is None:
                return False
            if not wait:
                break
            await asyncio.sleep(wait)
        if not s.taking:
            run.reason = "handed_back"
            return False
        now = s.clock.wall()
        run.begin(now, s.clock.lease(), start.error_ms(d.start_at, now))
        s.talk.say(d, "started")
        return True

    def _again(self, d: Dispatch, error: ErrorInfo | None) -> bool:
        """Whether the session is made again: not where that would be too late for its time."""
        in_time = start.pause(d.start_at, d.late_limit, self._shared.clock.wall() + RETRY_DELAY) is not None
        return in_time and retry.again(error, d.attempt, d.retries)

    async def _keep(self, run: Run, outcome: Outcome) -> None:
        """Store what the session has left behind, unless it is going to be made again."""
        s, dispatch, error = self._shared, run.dispatch, outcome.error
        if not outcome.artifacts or self._again(dispatch, error):
            return
        reason = "the session was ended from outside"
        if run.reason is None:
            with run:
                reason = await s.artifacts.keep(dispatch, outcome.artifacts, run.kept)
            # Who ends it now ends the sending: the session itself has ended before.
            run.reason = None
        run.left_out = len(outcome.artifacts) - len(run.kept)
        if run.left_out:
            s.talk.say(dispatch, "line", f"{run.left_out} artifacts are left out: {reason}", "warning")

    def _record(self, run: Run, outcome: Outcome, error: ErrorInfo | None) -> SessionRecord:
        s, d = self._shared, run.dispatch
        return SessionRecord(
            job=d.job,
            session=d.session,
            attempt=d.attempt,
            status=outcome.status,
            runner=s.runner,
            instance=s.instance,
            target=d.target,
            platform=d.platform,
            asked=d.asked,
            started_at=run.since,
            ended_at=s.clock.wall(),
            duration_ms=outcome.duration_ms,
            error=error,
            saturated=s.saturated_since(run.began),
            measures=outcome.measures,
            pages=outcome.pages,
            steps=outcome.steps,
            upstreams=outcome.upstreams,
            refused=outcome.refused,
            third_parties=outcome.third_parties,
            start_error_ms=run.start_error_ms,
            artifacts=run.kept,
            artifacts_left_out=run.left_out,
        )

    def _say(self, dispatch: Dispatch, mask: SecretMask, event: str, text: str) -> None:
        self._shared.talk.say(dispatch, "step" if event == "step" else "line", mask(text))


def _no_scripts() -> Outcome:
    detail = "a scripted session reached a runner that was started without --allow-scripts"
    error = ErrorInfo(kind="scripts_not_allowed", detail=detail, infrastructure=True)
    return Outcome(status="failed", error=error)


def _read(delivery: Delivery) -> Dispatch:
    """The session with the number of this very attempt. Raises `MessageError`."""
    dispatch = codec.decode(delivery.data, Dispatch)
    if not PROTOCOL_OLDEST <= dispatch.protocol <= PROTOCOL:
        raise MessageError(f"a Dispatch of protocol {dispatch.protocol}; this runner speaks {PROTOCOL}")
    try:
        token(dispatch.job, "job id")
    except NameRefused as e:
        raise MessageError(f"not a usable Dispatch: {e}") from None
    if delivery.number == 1:
        return dispatch
    return msgspec.structs.replace(dispatch, attempt=dispatch.attempt + delivery.number - 1)
