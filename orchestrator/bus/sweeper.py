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
from collections.abc import Awaitable, Callable, Mapping

from nats.aio.msg import Msg

from broker_config.messages import ErrorInfo, SessionStatus
from broker_config.streams import DISPATCH, MAX_DELIVER
from broker_config.subjects import dispatch_consumer
from orchestrator.core import attempts
from orchestrator.core.job_run import InFlight, JobRun
from orchestrator.core.roster import Roster

from .dispatch_queue import DispatchQueue
from .jet import Jet

log = logging.getLogger(__name__)

SWEEP_EVERY = 5.0
ADVISORIES = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{DISPATCH.name}.*"
#: A session that no runner has named for so long is not running, s.
UNCLAIMED_AFTER = 2.5

WriteOff = Callable[[JobRun, list[tuple[int, int]], SessionStatus, ErrorInfo | None, int], Awaitable[None]]


class Sweeper:
    def __init__(self, jet: Jet, queue: DispatchQueue, roster: Roster, *, every: float = SWEEP_EVERY) -> None:
        self._every = every
        self._jet = jet
        self._queue = queue
        self._roster = roster
        self._exhausted: deque[int] = deque()
        self._swept_at = 0.0
        self._suspects: set[int] = set()

    async def listen(self, wake: Callable[[], None]) -> None:
        """Hear of messages that have used up their deliveries, until cancelled. One that is missed is found
        by the sweep."""

        async def take(msg: Msg) -> None:
            self._exhausted.append(int(json.loads(msg.data)["stream_seq"]))
            wake()

        sub = await self._jet.nc.subscribe(ADVISORIES, cb=take)
        try:
            await asyncio.Event().wait()
        finally:
            await sub.unsubscribe()

    async def sweep(self, runs: Mapping[str, JobRun], now: float, write_off: WriteOff) -> None:
        """Look at what is in flight; cheap unless something is due."""
        while self._exhausted:
            await self._give_up(runs, self._exhausted.popleft(), write_off)
        if now - self._swept_at < self._every:
            return
        self._swept_at = now
        doubtful = [
            (run, session, flight)
            for run in runs.values()
            for session, flight in run.not_held(now, UNCLAIMED_AFTER).items()
            if now - flight.since > UNCLAIMED_AFTER
        ]
        if not doubtful:
            self._suspects.clear()
            return
        there = {q.seq for q in await self._queue.scan()}
        for run, session, flight in doubtful:
            if session in run.fold.done:
                continue
            if flight.seq in there:
                flight.missed = 0
                if attempts.poisonous(flight.holders, self._roster.died):
                    status, error = attempts.poison(flight.holders)
                    await write_off(run, [(session, session)], status, error, flight.attempt_seen)
                continue
            flight.missed += 1
            if flight.missed >= 2:
                await self._send_again(run, session, flight, write_off)
        await self._find_exhausted(runs, doubtful, there, write_off)

    async def _send_again(self, run: JobRun, session: int, flight: InFlight, write_off: WriteOff) -> None:
        made = max(flight.attempt_seen, flight.attempt)
        if made >= MAX_DELIVER:
            status, error = attempts.lost(made)
            await write_off(run, [(session, session)], status, error, made)
        elif run.job.desired != "cancel":
            log.warning("session %d of job %s has vanished and is sent again", session, run.id)
            run.put_back(session, made + 1)

    async def _give_up(self, runs: Mapping[str, JobRun], seq: int, write_off: WriteOff) -> None:
        for run in runs.values():
            for session, flight in run.in_flight.items():
                if flight.seq == seq:
                    made = flight.attempt + MAX_DELIVER - 1
                    status, error = attempts.lost(made)
                    await write_off(run, [(session, session)], status, error, made)
                    return

    async def _find_exhausted(
        self,
        runs: Mapping[str, JobRun],
        doubtful: list[tuple[JobRun, int, InFlight]],
        there: set[int],
        write_off: WriteOff,
    ) -> None:
        """Messages that their consumer has done with although nobody acked them: the advisory was missed."""
        lanes = {f.lane for _, _, f in doubtful if f.seq in there}
        done_with: dict[str, int] = {}
        for lane in lanes:
            platform, _, pool = lane.partition(".")
            info = await self._jet.api(
                f"CONSUMER.INFO.{DISPATCH.name}.{dispatch_consumer(platform, pool or None)}"
            )
            if not info.get("num_pending") and not info.get("num_ack_pending"):
                done_with[lane] = info["delivered"]["stream_seq"]
        suspects = {f.seq for _, _, f in doubtful if 0 < f.seq <= done_with.get(f.lane, 0)}
        for seq in suspects & self._suspects:
            await self._give_up(runs, seq, write_off)
        self._suspects = suspects
