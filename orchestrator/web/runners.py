"""`/runners`: who is there and what they offer."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from broker_config.api import PlatformList, RunnerList, RunnerView
from orchestrator.core.access import Access

from .authentication import principal
from .problems import RequestRefused
from .typed_route import TypedRoute
from .web_state import web


async def list_runners(request: Request) -> RunnerList:
    """All runners, those that are lost or have left too. What they run is shown to those who see all jobs."""
    return RunnerList(items=[_seen(request, view) for view in web(request).fleet.runners()])


async def available_platforms(request: Request) -> PlatformList:
    """Platforms that online runners offer now."""
    return PlatformList(items=web(request).fleet.platforms())


async def get_runner(request: Request, *, id: str) -> RunnerView:
    """One runner, as its last heartbeat showed it."""
    view = web(request).fleet.runner(id)
    if view is None:
        raise RequestRefused(404, f"there is no runner {id[:100]!r}; `tb runners list` shows all")
    return _seen(request, view)


def _seen(request: Request, view: RunnerView) -> RunnerView:
    if principal(request).all_projects:
        return view
    return msgspec.structs.replace(view, running=[])


_FLEET = Access(scope="fleet")
ROUTES = [
    TypedRoute("GET", "/runners", list_runners, tag="runners", access=_FLEET),
    # Before `/runners/{id}`, which would take it for a runner.
    TypedRoute("GET", "/runners/available-platforms", available_platforms, tag="runners", access=_FLEET),
    TypedRoute("GET", "/runners/{id}", get_runner, tag="runners", access=_FLEET, problems=(404,)),
]
