"""Whether a runner gets what it asks for a session. Pure."""

from __future__ import annotations

from broker_config.api import RunnerView
from broker_config.job import Job
from broker_config.messages import SecretRefusal, SecretRequest

#: Of the job: sessions of it may run. The first are with runners before it is said to run.
_RUNNING = ("queued", "running", "paused")
#: Of the runner: its heartbeats come.
_THERE = ("online", "paused", "draining")


def refusal(request: SecretRequest, job: Job, runner: RunnerView | None) -> tuple[SecretRefusal, str] | None:
    """None if the claim holds. `runner` is the one of the request, as its heartbeats show it."""
    spec = job.spec
    if job.state not in _RUNNING:
        return "refused", f"job {job.id} is {job.state}"
    if runner is None or runner.state not in _THERE:
        # Its heartbeats may be later than its question.
        return "unavailable", f"there is no runner {request.runner} online"
    if runner.instance != request.instance:
        return "unavailable", f"another process is runner {request.runner}"
    if runner.pool != spec.pool:
        return "refused", f"runner {runner.id} is not of the pool of job {job.id}"
    if spec.script is not None and not runner.scripts:
        return "refused", f"runner {runner.id} runs no scripts, and job {job.id} is one"
    allowed = {p for asked in spec.platform_weights for p in (asked, *spec.fallback.get(asked, ()))}
    if request.platform not in allowed:
        return "refused", f"job {job.id} has no sessions for {request.platform!r}"
    if all(offer.platform != request.platform for offer in runner.platforms):
        return "refused", f"runner {runner.id} does not offer {request.platform}"
    if not 1 <= request.session <= spec.total_sessions:
        return "refused", f"job {job.id} has no session {request.session}"
    return None
