"""`/runner-invites`, `/runner-join` and `/runners/{id}/revoke`: credentials of runners."""

from __future__ import annotations

from starlette.requests import Request

from broker_config.enrolment import (
    InviteList,
    InviteOrder,
    InviteRemoved,
    NewInvite,
    RunnerGrant,
    RunnerJoin,
    RunnerRevoked,
)
from orchestrator.core.access import PUBLIC, Access

from .audit_trail import about
from .authentication import address, principal
from .typed_route import Reply, TypedRoute
from .web_state import web

ADMIN = Access(scope="fleet", role="admin")


async def invite_runners(request: Request, *, body: InviteOrder) -> Reply[NewInvite]:
    """Make an invite for runners.

    Its token is told this once. With it so many machines can join as `uses` says, for its pool and platforms.
    """
    made = await web(request).enrolment.invite(body, principal(request).name)
    about(request, object=made.invite.id, detail=f"for {body.uses} runners, pool {body.pool or '-'}")
    return Reply(made, 201)


async def list_invites(request: Request) -> InviteList:
    """The invites whose time is not over, newest first."""
    return InviteList(items=await web(request).enrolment.invites())


async def remove_invite(request: Request, *, id: str) -> InviteRemoved:
    """Withdraw an invite. Runners that have joined by it stay."""
    about(request, object=id[:64])
    await web(request).enrolment.remove_invite(id)
    return InviteRemoved(id=id)


async def join(request: Request, *, body: RunnerJoin) -> RunnerGrant:
    """Exchange the token of an invite for a runner's credential.

    The runner has made the pair of keys; its private key never leaves it. 403 where the token is not valid
    (any more), or the name is another runner's.
    """
    about(request, object=body.runner[:64])
    return await web(request).enrolment.join(body, address(request))


async def revoke_runner(request: Request, *, id: str) -> RunnerRevoked:
    """End the credential of a runner: its connections are cut at once, and it gets in no more."""
    about(request, object=id[:64])
    at = await web(request).enrolment.revoke(id, principal(request).name)
    return RunnerRevoked(runner=id, revoked_at=at)


_BROKER = (502, 503)
ROUTES = [
    TypedRoute(
        "POST",
        "/runner-invites",
        invite_runners,
        tag="runners",
        access=ADMIN,
        audits="runner.invite",
        statuses={201: "Made."},
        problems=(409, 507, *_BROKER),
    ),
    TypedRoute("GET", "/runner-invites", list_invites, tag="runners", access=ADMIN, problems=(409, *_BROKER)),
    TypedRoute(
        "DELETE",
        "/runner-invites/{id}",
        remove_invite,
        tag="runners",
        access=ADMIN,
        audits="runner.uninvite",
        problems=(404, 409, *_BROKER),
    ),
    TypedRoute(
        "POST",
        "/runner-join",
        join,
        tag="runners",
        access=PUBLIC,
        audits="runner.join",
        problems=(403, 409, 507, *_BROKER),
        max_body=4096,
    ),
    TypedRoute(
        "POST",
        "/runners/{id}/revoke",
        revoke_runner,
        tag="runners",
        access=ADMIN,
        audits="runner.revoke",
        problems=(404, 409, 507, *_BROKER),
    ),
]
