"""The web application: REST under `/api/v1`, the WebSocket at `/ws`, the frontend at `/`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from broker_config import codec
from broker_config.api import API_PREFIX
from orchestrator.core.access import PUBLIC

from . import (
    artifacts,
    audit_log,
    enrolment,
    health,
    jobs,
    kill,
    login,
    oidc,
    people,
    plans,
    projects,
    proxies,
    reports,
    runners,
    secrets,
    sessions,
    socket_tickets,
    targets,
    tokens,
)
from .authentication import Authentication
from .fan_out import FanOut
from .job_projects import JobProjects
from .landing import landing
from .openapi import document
from .origin_check import OriginCheck
from .problems import HANDLERS, problem_response
from .rate_limit import HandshakeLimit, RateLimit, RateLimits, RequestLimit
from .security_headers import SecurityHeaders
from .socket_watch import SocketWatch
from .sockets import socket
from .typed_route import GuardedRoute, TypedRoute
from .web_state import WebState

#: Where the built frontend stands, if it has been built.
STATIC = Path(__file__).parent.parent / "static"


#: All that is described; what has no JSON to describe stands beside it.
TYPED: list[TypedRoute] = [
    *jobs.ROUTES,
    *plans.ROUTES,
    *reports.ROUTES,
    *sessions.ROUTES,
    *artifacts.ROUTES,
    *runners.ROUTES,
    *enrolment.ROUTES,
    *proxies.ROUTES,
    *audit_log.ROUTES,
    *secrets.ROUTES,
    *targets.ROUTES,
    *kill.ROUTES,
    *people.ROUTES,
    *tokens.ROUTES,
    *projects.ROUTES,
    *login.ROUTES,
    *health.ROUTES,
    *socket_tickets.ROUTES,
]


async def openapi(request: Request) -> Response:
    return Response(request.state.openapi, media_type="application/json")


#: Everything under `API_PREFIX`; each says who may.
GUARDED: list[GuardedRoute] = [
    *TYPED,
    *oidc.ROUTES,
    artifacts.CONTENT,
    GuardedRoute("/openapi.json", openapi, methods=["GET"], access=PUBLIC),
]


def create_app(state: WebState) -> Starlette:
    """The application over `state`, whose parts belong to the caller and must outlive it. Needs a server with
    lifespan; `WebServer` is one."""

    described = codec.encode(document(TYPED, version=state.version))
    job_projects = JobProjects(state.jobs)
    limit = RateLimit(state.rates or RateLimits())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with (
            FanOut(feed=state.feed, jobs=state.jobs, fleet=state.fleet) as fan_out,
            SocketWatch(state.authenticator, job_projects) as socket_watch,
        ):
            yield {
                "web": state,
                "fan_out": fan_out,
                "job_projects": job_projects,
                "rate_limit": limit,
                "socket_watch": socket_watch,
                "openapi": described,
            }

    routes: list[BaseRoute] = [
        Mount(API_PREFIX, routes=GUARDED),
        WebSocketRoute("/ws", socket),
        Route("/ws", _upgrade),
        _frontend(state.static),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        # In this order: what costs nothing first.
        middleware=[
            Middleware(SecurityHeaders, names=state.names),
            Middleware(OriginCheck, names=state.names),
            Middleware(HandshakeLimit, limit=limit),
            Middleware(Authentication, state=state),
            Middleware(RequestLimit, limit=limit),
        ],
    )


async def _upgrade(request: Request) -> Response:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return problem_response(426, "/ws is a WebSocket; connect to it with ws:// or wss://", (), headers)


def _frontend(static: Path | None) -> BaseRoute:
    if static is not None and (static / "index.html").is_file():
        return Mount("/", Frontend(directory=static, html=True))
    return Route("/", landing)


class Frontend(StaticFiles):
    """Files of the frontend; its pages have addresses of their own, which all are `index.html`."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            return await super().get_response(path, scope)
        except HTTPException as e:
            is_page = "." not in path.rpartition("/")[2] and not path.startswith(("api/", "ws/"))
            if e.status_code != 404 or not is_page:
                raise
            return await super().get_response("index.html", scope)
