"""What a project may have: its quotas against a job."""

from __future__ import annotations

from broker_config.errors import Problem
from broker_config.job_spec import JobSpec
from broker_config.load import peak
from broker_config.people import Quotas


def problems(spec: JobSpec, quotas: Quotas, running: int) -> list[Problem]:
    """One problem for each quota that the job would break. `running` are the jobs of the project that are
    not finished, without this one."""
    found = [
        _over("load", "sessions at once", peak(spec.load), quotas.vus),
        _over("sessions", "sessions", spec.total_sessions, quotas.sessions),
        _over("targets", "targets", len(spec.targets), quotas.targets),
        jobs_problem(quotas, running),
    ]
    if not spec.egress.is_direct and not quotas.egress:
        found.append(Problem("egress", f"jobs of this project leave direct, without proxies; {_ASK}"))
    if spec.script is not None and not quotas.scripts:
        found.append(Problem("script", f"jobs of this project bring no scripts; {_ASK}"))
    return [p for p in found if p is not None]


def jobs_problem(quotas: Quotas, running: int) -> Problem | None:
    """Whether the project has as many jobs as it may."""
    if quotas.jobs is None or running < quotas.jobs:
        return None
    what = f"{running} jobs of this project are not finished; it may have {quotas.jobs}: wait, or cancel some"
    return Problem("project", what)


_ASK = "an admin can change that by `tb projects set`"


def _over(where: str, noun: str, asked: int, quota: int | None) -> Problem | None:
    if quota is None or asked <= quota:
        return None
    return Problem(where, f"{asked} {noun}; this project's quota is {quota}")
