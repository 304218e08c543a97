"""The sweeper: finds sessions that nobody will report, and sends them again or writes them off.

- delivered as often as allowed: `lost`;
- its runners died with it again and again: `failed`, kind `poison`;
- neither record nor message nor holder: sent again as the next attempt.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque

from nats.aio.msg import Msg

from broker_config.messages import Dispatch
from broker_config.messages.dispatch import DISPATCH_LIFE
from broker_config.streams import DISPATCH, LEASE, MAX_DELIVER
from broker_config.subjects import dispatch_consumer
from orchestrator.core import attempts
from orchestrator.core.in_flight import InFlight
from orchestrator.core.job_run import UNCLAIMED_AFTER, JobRun
from orchestrator.core.roster import Roster

from .conducted import Conducted
from .dispatch_queue import DispatchQueue

log = logging.getLogger(__name__)

SWEEP_EVERY = 5.0
ADVISORIES = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{DISPATCH.name}.*"


class Sweeper:
    def __init__(
        self, jobs: Conducted, queue: DispatchQueue, roster: Roster, *, every: float = SWEEP_EVERY
    ) -> None:
        self._jobs = jobs
        self._queue = queue
        self._roster = roster
        self._every = every
        self._exhausted: deque[int] = deque()
        self._swept_at = 0.0
        self._suspects: set[int] = set()

    async def listen(self) -> None:
        """Hear of messages that have used up their deliveries, until cancelled. One that is missed is found
        by the sweep."""

        async def take(msg: Msg) -> None:
            self._exhausted.append(int(json.loads(msg.data)["stream_seq"]))
            self._jobs.wake.set()

        sub = await self._jobs.jet.nc.subscribe(ADVISORIES, cb=take)
        try:
            await asyncio.Event().wait()
        finally:
            await sub.unsubscribe()

    async def sweep(self, now: float) -> None:
        """Look at what is in flight; cheap unless something is due."""
        while self._exhausted:
            await self._give_up(self._exhausted.popleft())
        if now - self._swept_at < self._every:
            return
        self._swept_at = now
        doubtful = [
            (run, session, flight)
            for run in self._jobs.runs.values()
            for session, flight in run.not_held(now, UNCLAIMED_AFTER).items()
            if now - flight.since > UNCLAIMED_AFTER
        ]
        if not doubtful:
            self._suspects.clear()
            return
        there = {q.seq: q.dispatch for q in await self._queue.scan()}
        for run, session, flight in doubtful:
            if flight.seq in there:
                if await self._renewed(run, session, flight, there[flight.seq], now):
                    continue
                flight.missed = 0
                if attempts.poisonous(flight.holders, self._roster.died):
                    status, error = attempts.poison(flight.holders)
                    span = [(session, session)]
                    await self._jobs.write_off(run, span, status, error, flight.attempt_seen)
                continue
            flight.missed += 1
            # Twice: its record may be on its way to the fold.
            if flight.missed >= 2:
                await self._send_again(run, session, flight)
        await self._find_exhausted(doubtful, set(there))

    async def _renewed(
        self, run: JobRun, session: int, flight: InFlight, dispatch: Dispatch, now: float
    ) -> bool:
        """Sends a message anew before it is too old to be run; one that a runner may hold is left alone."""
        if not dispatch.issued_at or now - dispatch.issued_at < DISPATCH_LIFE / 2:
            return False
        if flight.held_at and now - flight.held_at <= LEASE:
            return False
        if await self._queue.withdraw(flight.seq):
            run.put_back(session, flight.attempt_seen + 1 if flight.attempt_seen else flight.attempt)
        return True

    async def _send_again(self, run: JobRun, session: int, flight: InFlight) -> None:
        made = max(flight.attempt_seen, flight.attempt)
        if made >= MAX_DELIVER:
            await self._write_lost(run, session, made)
        elif run.job.desired != "cancel":
            log.warning("session %d of job %s has vanished and is sent again", session, run.id)
            run.put_back(session, made + 1)

    async def _give_up(self, seq: int) -> None:
        for run in self._jobs.runs.values():
            for session, flight in run.in_flight.items():
                if flight.seq == seq and not flight.written_off:
                    await self._write_lost(run, session, flight.attempt + MAX_DELIVER - 1)
                    return

    async def _write_lost(self, run: JobRun, session: int, made: int) -> None:
        status, error = attempts.lost(made)
        await self._jobs.write_off(run, [(session, session)], status, error, made)

    async def _find_exhausted(self, doubtful: list[tuple[JobRun, int, InFlight]], there: set[int]) -> None:
        """Messages that their consumer has done with although nobody acked them: the advisory was missed."""
        done_with: dict[str, int] = {}
        for lane in {f.lane for _, _, f in doubtful if f.seq in there}:
            platform, _, pool = lane.partition(".")
            consumer = dispatch_consumer(platform, pool or None)
            info = await self._jobs.jet.api(f"CONSUMER.INFO.{DISPATCH.name}.{consumer}")
            if not info.get("num_pending") and not info.get("num_ack_pending"):
                done_with[lane] = info["delivered"]["stream_seq"]
        suspects = {f.seq for _, _, f in doubtful if 0 < f.seq <= done_with.get(f.lane, 0)}
        for seq in suspects & self._suspects:
            await self._give_up(seq)
        self._suspects = suspects
