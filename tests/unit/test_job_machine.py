"""Every command, state and wish of a job."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from broker_config.errors import IllegalTransition
from broker_config.job import Desired, Job
from broker_config.job_spec import read_spec
from broker_config.messages import JobState, Verdict
from orchestrator.core.job_machine import Command, command, move, next_state

STATES: tuple[JobState, ...] = get_args(JobState)
DESIRED: tuple[Desired, ...] = get_args(Desired)
COMMANDS: tuple[Command, ...] = get_args(Command)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

SPEC = read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 3})

ALLOWED = {
    ("queued", "running"), ("queued", "paused"), ("queued", "cancelling"), ("queued", "finished"),
    ("running", "paused"), ("running", "cancelling"), ("running", "finished"),
    ("paused", "running"), ("paused", "cancelling"), ("paused", "finished"),
    ("cancelling", "finished"),
}  # fmt: skip


def job(state: JobState, desired: Desired = "run", verdict: Verdict | None = None, reason: str = "") -> Job:
    return Job(
        id="j1",
        spec=SPEC,
        state=state,
        submitted_at=1.0,
        desired=desired,
        verdict=verdict,
        generation=3,
        reason=reason,
    )


@pytest.mark.parametrize(("old", "new"), list(product(STATES, STATES)))
def test_moves(old: JobState, new: JobState) -> None:
    before = job(old)
    if old == new or (old, new) in ALLOWED:
        after = move(before, new, started_at=5.0)
        assert (after.state, after.started_at, after.id) == (new, 5.0, "j1")
        assert before.state == old
    else:
        with pytest.raises(IllegalTransition, match=f"j1 is {old} and cannot become {new}"):
            move(before, new)


OPEN_STATES: tuple[JobState, ...] = ("queued", "running", "paused", "cancelling")
#: What `desired` is after a command; None where the command is refused. The state plays no part.
OUTCOME: dict[tuple[Command, Desired], Desired | None] = {
    ("cancel", "run"): "cancel",
    ("cancel", "pause"): "cancel",
    ("cancel", "cancel"): "cancel",
    ("pause", "run"): "pause",
    ("pause", "pause"): "pause",
    ("pause", "cancel"): None,
    ("resume", "run"): "run",
    ("resume", "pause"): "run",
    ("resume", "cancel"): None,
}


def test_the_table_is_complete() -> None:
    assert OUTCOME.keys() == set(product(COMMANDS, DESIRED))
    assert {*OPEN_STATES, "finished"} == set(STATES)


@pytest.mark.parametrize(("order", "state", "desired"), list(product(COMMANDS, OPEN_STATES, DESIRED)))
def test_a_command_on_a_job_that_is_not_finished(order: Command, state: JobState, desired: Desired) -> None:
    before = job(state, desired, reason="old words")
    wanted = OUTCOME[order, desired]
    if wanted is None:
        with pytest.raises(IllegalTransition, match=f"j1 is being cancelled; it cannot {order}"):
            command(before, order)
        return
    after = command(before, order, "new words")
    if wanted == desired:
        assert after is before
        return
    assert (after.desired, after.state, after.reason) == (wanted, state, "new words")
    # What a pause withdrew is sent again under a message id of its own.
    assert after.generation == before.generation + (order == "resume")
    assert command(before, order).reason == "old words"
    assert command(after, order) is after


@pytest.mark.parametrize(("order", "desired", "verdict"), list(product(COMMANDS, DESIRED, VERDICTS)))
def test_a_command_on_a_finished_job(order: Command, desired: Desired, verdict: Verdict) -> None:
    before = job("finished", desired, verdict)
    if order == "cancel" and verdict == "aborted":
        assert command(before, order) is before
    else:
        with pytest.raises(IllegalTransition, match=rf"j1 is finished \({verdict}\); it cannot {order}"):
            command(before, order)


@pytest.mark.parametrize(
    ("state", "desired", "any_sent", "ended"), list(product(STATES, DESIRED, [False, True], [False, True]))
)
def test_next_state(state: JobState, desired: Desired, any_sent: bool, ended: bool) -> None:
    now = job(state, desired)
    new = next_state(now, dispatched_any=any_sent, all_ended=ended)
    if ended or state == "finished":
        assert new == "finished"
    elif desired == "cancel":
        assert new == "cancelling"
    elif desired == "pause":
        assert new == "paused"
    elif any_sent or state in ("running", "paused"):
        assert new == ("running" if state != "cancelling" or any_sent else state)
    else:
        assert new == state
    # A job that is being cancelled wants nothing else any more, so every state asked for can be reached.
    if state != "cancelling" or desired == "cancel":
        assert move(now, new).state == new
        again = next_state(move(now, new), dispatched_any=any_sent, all_ended=ended)
        assert again == new
