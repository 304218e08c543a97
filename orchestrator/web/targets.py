"""`/projects/{project}/targets`: origins that a project may send traffic to, and how it proves that they are
its own."""

from __future__ import annotations

import time

import msgspec
from starlette.requests import Request

from broker_config.target_proof import (
    RemovedTarget,
    Target,
    TargetAllowed,
    TargetCeilings,
    TargetCheck,
    TargetGrant,
    TargetNew,
    TargetPage,
    TargetView,
)
from orchestrator.core.access import Access

from .audit_trail import about
from .authentication import principal
from .secrets import of_project
from .typed_route import Reply, TypedRoute
from .web_state import web


async def list_targets(request: Request, *, project: str) -> TargetPage:
    """The targets of a project, with what to put where to prove each."""
    return TargetPage(items=[TargetView.of(t) for t in await web(request).targets.store.all(project)])


async def add_target(request: Request, *, project: str, body: TargetNew) -> Reply[TargetView]:
    """Name an origin as a target. Its token is new; one that is a target already stays as it is."""
    about(request, object=f"{project} {body.origin}"[:300])
    made = await web(request).targets.store.add(project, body.origin, by=principal(request).name)
    return Reply(TargetView.of(made), 201)


async def get_target(request: Request, *, project: str, target: str) -> TargetView:
    """A target, with what to put where to prove it."""
    return TargetView.of(await web(request).targets.store.get(project, target))


async def verify_target(request: Request, *, project: str, target: str, body: TargetCheck) -> TargetView:
    """Look for the proof now. The answer says what was found; it may take half a minute."""
    return _told(request, await web(request).targets.verify(project, target, body.method))


async def set_ceilings(request: Request, *, project: str, target: str, body: TargetCeilings) -> TargetView:
    """Set how many sessions at once and requests a second all jobs together may send to the origin. It holds
    for sessions that begin from then on."""
    given = {
        name: value
        for name in ("sessions", "rate")
        if not isinstance(value := getattr(body, name), msgspec.UnsetType)
    }

    def change(found: Target) -> Target:
        return msgspec.structs.replace(found, **given)

    return _told(request, await web(request).targets.store.change(project, target, change))


async def grant_target(request: Request, *, project: str, target: str, body: TargetAllowed) -> TargetView:
    """Allow that the origin leads to addresses that are not public, and perhaps that nobody proves it."""
    await web(request).projects.get(project)
    grant = TargetGrant(by=principal(request).name, at=time.time(), without_proof=body.without_proof)
    return await _granted(request, project, target, grant)


async def withdraw_grant(request: Request, *, project: str, target: str) -> TargetView:
    """Take the grant of an admin back. Jobs that need it are ended."""
    await web(request).projects.get(project)
    return await _granted(request, project, target, None)


async def remove_target(request: Request, *, project: str, target: str) -> RemovedTarget:
    """Remove a target. Jobs that go there are ended; named again, it has another token."""
    gone = await web(request).targets.store.remove(project, target)
    about(request, object=f"{project} {gone.origin}")
    return RemovedTarget(project=project, origin=gone.origin)


async def _granted(request: Request, project: str, target: str, grant: TargetGrant | None) -> TargetView:
    def change(found: Target) -> Target:
        return msgspec.structs.replace(found, grant=grant)

    words = "withdrawn" if grant is None else "without proof" if grant.without_proof else "private addresses"
    about(request, detail=words)
    return _told(request, await web(request).targets.store.change(project, target, change))


def _told(request: Request, target: Target) -> TargetView:
    about(request, object=f"{target.project} {target.origin}")
    return TargetView.of(target)


_BROKER = (502, 503)
_VIEWER = Access(scope="project", role="viewer")
_KEEPER = Access(scope="project", role="operator")
#: Of the fleet: what leads into a private network concerns more than one project.
_ADMIN = Access(scope="fleet", role="admin")
_AT = "/projects/{project}/targets"
ROUTES = [
    TypedRoute(
        "GET", _AT, list_targets, tag="targets", access=_VIEWER, of=of_project, problems=(404, *_BROKER)
    ),
    TypedRoute(
        "POST",
        _AT,
        add_target,
        tag="targets",
        access=_KEEPER,
        of=of_project,
        audits="target.add",
        statuses={201: "It is a target now; not proved yet, if it is new."},
        problems=(404, 507, *_BROKER),
    ),
    TypedRoute(
        "GET",
        _AT + "/{target}",
        get_target,
        tag="targets",
        access=_VIEWER,
        of=of_project,
        problems=(404, *_BROKER),
    ),
    TypedRoute(
        "POST",
        _AT + "/{target}/verify",
        verify_target,
        tag="targets",
        access=_KEEPER,
        of=of_project,
        audits="target.verify",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "PATCH",
        _AT + "/{target}",
        set_ceilings,
        tag="targets",
        access=_KEEPER,
        of=of_project,
        audits="target.ceiling",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "PUT",
        _AT + "/{target}/grant",
        grant_target,
        tag="targets",
        access=_ADMIN,
        audits="target.grant",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        _AT + "/{target}/grant",
        withdraw_grant,
        tag="targets",
        access=_ADMIN,
        audits="target.grant",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        _AT + "/{target}",
        remove_target,
        tag="targets",
        access=_KEEPER,
        of=of_project,
        audits="target.remove",
        problems=(404, 409, *_BROKER),
    ),
]
