"""Keeps jobs to the times of their loads: drops what is too late, ends what has had its time."""

from __future__ import annotations

import logging

from broker_config.messages import OwedStatus
from broker_config.streams import LEASE
from orchestrator.core.bitmap import ranges
from orchestrator.core.fallback import Lanes
from orchestrator.core.in_flight import InFlight
from orchestrator.core.job_run import UNCLAIMED_AFTER, JobRun
from orchestrator.core.waiting import ToSend

from .conducted import Conducted
from .dispatch_queue import DispatchQueue

log = logging.getLogger(__name__)

#: Seconds between two records of dropped sessions of a job: each holds as many as there are.
DROP_EVERY = 0.5
#: Who has got a session at the last moment says so at once, or with the next heartbeat: within this, s.
HEARD_WITHIN = 1.25
#: After running sessions were told to end, those that no runner reports are written off after this long, s.
CANCEL_GRACE = 5.0


class TimeKeeper:
    def __init__(self, jobs: Conducted, queue: DispatchQueue) -> None:
        self._jobs = jobs
        self._queue = queue

    async def keep(self, run: JobRun, now: float) -> None:
        """Do what is due by now. Whoever takes over a job does the rest: it all follows from the job's start
        and from what has no record yet."""
        job, schedule = run.job, run.schedule
        over = schedule.is_over(now, job.started_at)
        if schedule.arrivals is not None:
            run.drop_late(now)
            if over or now - run.dropped_at >= DROP_EVERY or job.desired == "cancel":
                run.dropped_at = now
                await self.write_dropped(run)
        if not over or job.desired == "cancel" or run.fold.finished:
            return
        if schedule.aborts:
            await self._abort(run, now)
            return
        if schedule.open_ended:
            await self._take_back(run, now)
            await self._leave_unused(run, now)
        if schedule.must_stop(now, job.started_at):
            await self._stop(run, now)

    async def write_dropped(self, run: JobRun) -> None:
        """Write off what was too late."""
        if run.dropped:
            # One that a runner has claimed all the same is the runner's to report.
            await self._write_off(run, [s for s in run.dropped if s not in run.in_flight], "dropped")
            run.dropped = []

    async def leave(self, run: JobRun, waiting: list[ToSend]) -> None:
        """Write off what will not be sent: as cancelled what was planned, as unused mere numbers."""
        unused = [
            i.session
            for i in waiting
            if run.schedule.open_ended
            and i.attempt == 1
            and (i.session in run.taken_back or not run.was_sent(i.session))
        ]
        await self._write_off(run, unused, "unused")
        kept = set(unused)
        await self._write_off(run, [i.session for i in waiting if i.session not in kept], "cancelled")

    async def end_running(self, run: JobRun, now: float) -> None:
        """Write off sessions that were told to end and that no runner reports."""
        since = now if run.cancel_since is None else run.cancel_since
        overdue = now - since > CANCEL_GRACE
        if now - since <= UNCLAIMED_AFTER:
            return
        gone = run.not_held(now, -1.0 if overdue else UNCLAIMED_AFTER)
        if run.schedule.arrivals is not None and run.job.desired != "cancel":
            # They never had a slot.
            await self._write_off(run, [s for s, f in gone.items() if not f.held_at], "dropped")
            gone = {s: f for s, f in gone.items() if f.held_at}
        await self._write_off(run, list(gone), "cancelled")

    async def fall_back(self, run: JobRun, lanes: Lanes, now: float) -> None:
        """Take back what waits in a lane whose runners are gone, where another platform may be taken."""
        if not run.job.spec.fallback:
            return
        for session, flight in list(run.in_flight.items()):
            if not flight.seq or flight.written_off or not lanes.deserted(flight.lane, now):
                continue
            # A runner that is silent may still run it until its lease is over.
            held = flight.held_at and now - flight.held_at <= LEASE
            if held or lanes.route(run.chains[run.lane_asked(session)], now) is None:
                continue
            if await self._queue.withdraw(flight.seq):
                run.put_back(session, flight.attempt_seen + 1 if flight.attempt_seen else flight.attempt)

    async def pause(self, run: JobRun, now: float) -> None:
        """What no runner has begun goes back to wait."""
        for session, flight in (await self._not_given(run, now)).items():
            if await self._queue.withdraw(flight.seq):
                run.put_back(session, flight.attempt)
        for session, flight in run.not_held(now, UNCLAIMED_AFTER).items():
            # Nobody tells of one that was given away: its runner is dead, or has handed it back.
            if (
                flight.seq
                and now - flight.given_at > UNCLAIMED_AFTER
                and await self._queue.withdraw(flight.seq)
            ):
                run.put_back(session, max(flight.attempt, flight.attempt_seen) + 1)

    async def _abort(self, run: JobRun, now: float) -> None:
        """No new session is begun; when the running ones have had their time, the job is cancelled."""
        await self._take_back(run, now)
        job = run.job
        under_way = len(run.in_flight) - len(_unheard(run, now))
        if job.desired == "run" and (not under_way or run.schedule.must_stop(now, job.started_at)):
            words = f"took longer than max_duration ({job.spec.load.max_duration})"  # type: ignore[union-attr]
            await self._jobs.change(run, desired="cancel", ended_by="max_duration", reason=words)
            await self._jobs.store.announce(job.id, "cancel")

    async def _take_back(self, run: JobRun, now: float) -> None:
        """What no runner was given must not begin any more. What one was given may have begun, even if it
        is never heard of again: so that is planned, and not a mere number."""
        for session, flight in (await self._not_given(run, now)).items():
            if await self._queue.withdraw(flight.seq):
                run.taken_back[session] = now
                run.put_back(session, flight.attempt)

    async def _not_given(self, run: JobRun, now: float) -> dict[int, InFlight]:
        """Messages that wait for a runner. Of the others it is noted since when that is known."""
        waiting = {
            session: flight
            for session, flight in run.in_flight.items()
            if flight.seq and not flight.held_at and not flight.given_at and not flight.written_off
        }
        given = {lane: await self._queue.given(lane) for lane in {f.lane for f in waiting.values()}}
        for session, flight in list(waiting.items()):
            if flight.seq <= given[flight.lane]:
                flight.given_at = now
                del waiting[session]
        return waiting

    async def _leave_unused(self, run: JobRun, now: float) -> None:
        """Write off the numbers that nobody needed. One that a runner may have got at the last moment, or
        before this conductor came, waits until it would have been heard of."""
        if now - run.laid_out_at <= HEARD_WITHIN:
            return
        left = run.take_waiting(lambda item: now - run.taken_back.get(item.session, 0.0) > HEARD_WITHIN)
        await self.leave(run, left)
        await self._write_off(run, _unheard(run, now), "cancelled")

    async def _stop(self, run: JobRun, now: float) -> None:
        """Running sessions have had their time to end by themselves."""
        if run.cancel_since is None:
            run.cancel_since = now
            log.info("job %s: %d sessions have not ended within graceful_stop", run.id, len(run.in_flight))
            await self._jobs.store.announce(run.id, "cancel")
        if run.schedule.arrivals is not None:
            run.dropped += [i.session for i in run.take_waiting()]
            await self.write_dropped(run)
            for flight in list(run.in_flight.values()):
                if flight.seq and not flight.held_at:
                    await self._queue.withdraw(flight.seq)
        await self.end_running(run, now)

    async def _write_off(self, run: JobRun, sessions: list[int], status: OwedStatus) -> None:
        open_ones = [s for s in sessions if s not in run.fold.done]
        await self._jobs.write_off(run, ranges(open_ones), status)


def _unheard(run: JobRun, now: float) -> list[int]:
    """Sessions that a runner was given at the last moment, and that none has told of since."""
    return [
        session
        for session, f in run.in_flight.items()
        if f.given_at and not f.held_at and not f.written_off and now - f.given_at > UNCLAIMED_AFTER
    ]
