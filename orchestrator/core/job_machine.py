"""The states of a job and the moves between them; an illegal move is refused loudly.

queued ──→ running ⇄ paused
  │           │        │
  └───────────┴────────┴──→ cancelling ──→ finished
              └──────────────────────────────↗
"""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.errors import IllegalTransition
from broker_config.job import Desired, Job
from broker_config.messages import JobState

Command = Literal["cancel", "pause", "resume"]

_MOVES: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "paused", "cancelling", "finished"}),
    "running": frozenset({"paused", "cancelling", "finished"}),
    "paused": frozenset({"running", "cancelling", "finished"}),
    "cancelling": frozenset({"finished"}),
    "finished": frozenset(),
}


def move(job: Job, state: JobState, **changes: object) -> Job:
    """The job in `state` (with other fields changed too); `IllegalTransition` if there is no such move."""
    if state != job.state and state not in _MOVES[job.state]:
        raise IllegalTransition(f"job {job.id} is {job.state} and cannot become {state}")
    return msgspec.structs.replace(job, state=state, **changes)


def command(job: Job, order: Command, reason: str = "") -> Job:
    """The job after a user's order: `desired` changes at once, `state` follows by the conductor.

    Repeating an order that is in force changes nothing. Raises `IllegalTransition` in words.
    """
    if job.state == "finished":
        if order == "cancel" and job.verdict == "aborted":
            return job
        raise IllegalTransition(f"job {job.id} is finished ({job.verdict}); it cannot {order} any more")
    if job.desired == "cancel":
        if order == "cancel":
            return job
        raise IllegalTransition(f"job {job.id} is being cancelled; it cannot {order}")
    wanted: dict[Command, Desired] = {"cancel": "cancel", "pause": "pause", "resume": "run"}
    desired = wanted[order]
    if desired == job.desired:
        return job
    generation = job.generation + (1 if order == "resume" else 0)
    words = reason or job.reason
    return msgspec.structs.replace(
        job,
        desired=desired,
        generation=generation,
        reason=words,
        ended_by="user" if order == "cancel" else job.ended_by,
    )


def next_state(job: Job, *, dispatched_any: bool, all_ended: bool) -> JobState:
    """The state that the job should be in now."""
    if job.state == "finished" or all_ended:
        return "finished"
    if job.desired == "cancel":
        return "cancelling"
    if job.desired == "pause":
        return "paused"
    if job.state == "paused" or dispatched_any:
        return "running"
    return job.state
