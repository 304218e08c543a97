"""`/health` and `/ready`."""

from __future__ import annotations

from starlette.requests import Request

from broker_config.api import Health
from orchestrator.core.access import PUBLIC

from .typed_route import Reply, TypedRoute
from .web_state import web


async def health(request: Request) -> Health:
    """Whether the process is alive; asks nobody else."""
    return web(request).status.health()


async def ready(request: Request) -> Reply[Health]:
    """Whether jobs can be taken on now."""
    state = await web(request).status.ready()
    return Reply(state, 200 if state.status == "ok" else 503)


ROUTES = [
    TypedRoute("GET", "/health", health, tag="health", access=PUBLIC),
    TypedRoute(
        "GET",
        "/ready",
        ready,
        tag="health",
        access=PUBLIC,
        statuses={200: "Ready.", 503: "Not ready; `detail` says why."},
    ),
]
