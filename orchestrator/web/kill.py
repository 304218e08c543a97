"""`/kills`: stop all traffic of a job, a project or the fleet, and refuse new work until that is lifted.

Who may is a matter of what is killed: that is decided here, by the same words as everywhere.
"""

from __future__ import annotations

import time

from starlette.requests import Request

from broker_config.errors import JobNotFound, KillNotFound, Problem, ProjectNotFound, TrafficBusterError
from broker_config.kill import Kill, KillList, KillOrder, KillView
from orchestrator.core.access import KNOWN, may, role_in
from orchestrator.core.kill import ACCESS

from .access_check import refusal
from .audit_trail import about
from .authentication import principal
from .problems import RequestRefused
from .typed_route import Reply, TypedRoute
from .web_state import job_projects, web


async def list_kills(request: Request) -> KillList:
    """What is killed now: the fleet, and of projects and jobs those that one may see."""
    who = principal(request)
    kills = (await web(request).kills.read()).all()
    return KillList(
        items=[KillView.of(k) for k in kills if k.scope == "fleet" or role_in(who, k.project) is not None]
    )


async def kill(request: Request, *, body: KillOrder) -> Reply[KillView]:
    """Stop all traffic of a job, a project or the fleet, now.

    Sessions that run are ended without grace and counted as cancelled; their jobs are aborted. New work is
    refused until the kill is lifted. What is killed already stays so; its runners are told again.
    """
    made = await _made(request, body)
    held = await web(request).kills.kill(made)
    about(request, object=held.id, project=held.project, detail=held.reason)
    return Reply(KillView.of(held), 201)


async def lift(request: Request, *, id: str) -> KillView:
    """Lift a kill: new work is taken again. Jobs that it has ended stay ended."""
    missing = KillNotFound(f"there is no kill {id[:100]!r}; `tb kill --list` shows those that hold")
    found = (await web(request).kills.read()).get(id)
    if found is None:
        raise missing
    _must(request, found, missing)
    about(request, object=id, project=found.project)
    return KillView.of(await web(request).kills.lift(id))


async def _made(request: Request, order: KillOrder) -> Kill:
    if bool(order.job) + bool(order.project) + order.fleet != 1:
        wrong = Problem("", "name a job, or a project, or say that the fleet is meant; one of them")
        raise RequestRefused(422, str(wrong), [wrong])
    about(request, object=order.job or "fleet" * order.fleet, project=order.project, detail=order.reason)
    who = principal(request)
    by, at = who.name or who.kind, time.time()
    if order.fleet:
        made = Kill(scope="fleet", by=by, reason=order.reason, at=at)
        _must(request, made, None)
    elif order.job:
        project = await job_projects(request).of(order.job)
        made = Kill(scope="job", job=order.job, project=project, by=by, reason=order.reason, at=at)
        _must(request, made, JobNotFound.of(order.job))
    else:
        made = Kill(scope="project", project=order.project, by=by, reason=order.reason, at=at)
        _must(request, made, ProjectNotFound.of(order.project))
        await web(request).projects.get(order.project)
    return made


def _must(request: Request, wanted: Kill, missing: TrafficBusterError | None) -> None:
    """Raises `missing` to those who have no business in the kill's project, else `RequestRefused`."""
    who, access = principal(request), ACCESS[wanted.scope]
    project = None if wanted.scope == "fleet" else wanted.project
    if project is not None and missing is not None and role_in(who, project) is None:
        about(request, result="refused", detail="it belongs to a project of others", project=project)
        raise missing
    if not may(who, access, project):
        raise refusal(who, access)


_BROKER = (502, 503)
ROUTES = [
    TypedRoute("GET", "/kills", list_kills, tag="kills", access=KNOWN, problems=_BROKER),
    TypedRoute(
        "POST",
        "/kills",
        kill,
        tag="kills",
        access=KNOWN,
        audits="kill",
        statuses={201: "It holds."},
        problems=(403, 404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/kills/{id}",
        lift,
        tag="kills",
        access=KNOWN,
        audits="kill.lift",
        problems=(403, 404, 409, *_BROKER),
    ),
]
