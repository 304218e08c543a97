"""Which runner gets what it asks for a session."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker_config.api import RunnerView
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.messages import PlatformOffer, SecretRequest
from orchestrator.core.secret_claim import refusal

SPEC = {
    "targets": [{"url": "http://127.0.0.1:1/"}],
    "sessions": 5,
    "platforms": ["linux-firefox"],
    "fallback": {"linux-firefox": ["linux-chromium"]},
    "pool": "blue",
}
ASK = SecretRequest(
    runner="r1", instance="i1", key=bytes(32), job="job1", session=5, attempt=1, platform="linux-chromium"
)
RUNNER = RunnerView(
    id="r1",
    state="online",
    slots=1,
    busy=0,
    platforms=[PlatformOffer(platform="linux-chromium"), PlatformOffer(platform="linux-webkit")],
    last_seen=0.0,
    instance="i1",
    pool="blue",
)
SCRIPT = {"source": "async def journey(page, context): pass"}


def job(state: Any = "running", **more: Any) -> Job:
    return Job(id="job1", spec=read_spec(SPEC | more), state=state, submitted_at=0.0)


def test_a_fitting_runner_gets_them() -> None:
    assert refusal(ASK, job(), RUNNER) is None
    assert refusal(ASK, job("queued"), RUNNER) is None, "its first session is quicker than its state"
    assert refusal(ASK, job("paused"), RUNNER) is None, "its sessions run on"
    draining = msgspec.structs.replace(RUNNER, state="draining")
    assert refusal(ASK, job(), draining) is None


@pytest.mark.parametrize("state", ["finished", "cancelling"])
def test_not_of_a_job_that_runs_no_more(state: str) -> None:
    found = refusal(ASK, job(state), RUNNER)
    assert found is not None
    assert found[0] == "refused"


def test_what_may_be_otherwise_in_a_moment_is_said_to_be_so() -> None:
    gone = msgspec.structs.replace(RUNNER, state="lost")
    other = msgspec.structs.replace(RUNNER, instance="i2")
    for runner in (None, gone, other):
        found = refusal(ASK, job(), runner)
        assert found is not None
        assert found[0] == "unavailable"


@pytest.mark.parametrize(
    ("ask", "runner", "spec", "what"),
    [
        ({}, {"pool": None}, {}, "not of the pool"),
        ({}, {"pool": "red"}, {}, "not of the pool"),
        ({}, {}, {"pool": None}, "not of the pool"),
        ({"platform": "linux-webkit"}, {}, {}, "no sessions for"),
        ({"platform": "linux-firefox"}, {}, {}, "does not offer"),
        ({"session": 6}, {}, {}, "no session 6"),
        ({"session": 0}, {}, {}, "no session 0"),
        ({}, {}, {"script": SCRIPT}, "runs no scripts"),
    ],
)
def test_what_does_not_fit_is_refused(
    ask: dict[str, Any], runner: dict[str, Any], spec: dict[str, Any], what: str
) -> None:
    found = refusal(
        msgspec.structs.replace(ASK, **ask), job(**spec), msgspec.structs.replace(RUNNER, **runner)
    )
    assert found is not None
    assert found[0] == "refused"
    assert what in found[1]


def test_a_script_goes_to_a_runner_of_its_pool_that_runs_scripts() -> None:
    scripts = msgspec.structs.replace(RUNNER, scripts=True)
    assert refusal(ASK, job(script=SCRIPT), scripts) is None
