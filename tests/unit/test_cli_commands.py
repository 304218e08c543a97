"""The options of commands, and what is said of orders to jobs."""

from __future__ import annotations

from typing import get_args, get_type_hints

import msgspec
import pytest
from typer.main import get_command

from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.messages import JobLog, JobState, SessionStatus
from cli import jobs, tb
from cli.commands.jobs import jobs_list
from cli.commands.sessions import sessions_list
from cli.fallen import Fallen
from orchestrator.core.job_machine import command


def options(*words: str) -> dict[str, object]:
    found: object = get_command(tb.app)
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    return {name: p for p in found.params for name in p.opts}  # type: ignore[attr-defined]


def test_plan_takes_what_submit_takes() -> None:
    own = {"--watch", "--cancel-on-interrupt", "--idempotency-key"}
    assert set(options("jobs", "submit")) - own == set(options("jobs", "plan"))
    assert {"--dwell", "--name", "--threshold", "--priority", "--seed"} <= set(options("jobs", "plan"))


def test_what_can_be_asked_for_is_what_there_is() -> None:
    for function, option, kinds in ((jobs_list, "state", JobState), (sessions_list, "status", SessionStatus)):
        choices, nothing = get_args(get_type_hints(function)[option])
        assert (get_args(choices), nothing) == (get_args(kinds), type(None))


def job(**changes: object) -> Job:
    spec = read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 1})
    return msgspec.structs.replace(Job(id="j1", spec=spec, state="running", submitted_at=0.0), **changes)


@pytest.mark.parametrize(
    ("order", "before", "words"),
    [
        ("pause", job(), "is being paused: no new session begins"),
        ("pause", job(desired="pause", state="paused"), "is paused already"),
        ("resume", job(desired="pause", state="paused"), "is resumed"),
        ("resume", job(), "is not paused: it is running"),
        ("resume", job(state="queued"), "is not paused: it is queued"),
        ("cancel", job(), "is being cancelled: running sessions are ended"),
        ("cancel", job(desired="cancel", state="cancelling"), "is being cancelled already"),
        ("cancel", job(state="finished", verdict="aborted"), "was cancelled already"),
    ],
)
def test_an_order_is_told_as_it_is(order: str, before: Job, words: str) -> None:
    assert jobs._told(order, before, command(before, order)) == words  # type: ignore[arg-type]


def test_proxies_that_fail_are_named_once() -> None:
    said: list[str] = []
    fallen = Fallen(said.append)
    for text in (
        "proxy down http://p:1: no connection: refused",
        "proxy up http://p:1: it works again",
        "hi",
    ):
        for _ in range(2):
            fallen.hear(JobLog(job="j", runner="r", session=1, attempt=1, at=0.0, event="line", text=text))
    assert fallen.reasons == {"http://p:1": "no connection: refused"}
    assert len(said) == 1
    assert "proxy http://p:1 failed (no connection: refused)" in said[0]
