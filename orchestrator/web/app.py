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
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker_config import codec
from broker_config.api import API_PREFIX

from . import artifacts, health, jobs, plans, proxies, reports, runners, sessions
from .fan_out import FanOut
from .openapi import document
from .problems import HANDLERS, problem_response
from .sockets import socket
from .web_state import WebState

#: Where the built frontend stands, if it has been built.
STATIC = Path(__file__).parent.parent / "static"

_LANDING = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TrafficBuster</title>
<style>
body {{ font: 17px/1.6 system-ui, sans-serif; color: #1f2a30 }}
body {{ max-width: 40rem; margin: 12vh auto; padding: 0 1.25rem }}
h1 {{ font-size: 2rem; letter-spacing: -0.02em; margin: 0 0 .5rem }}
code {{ background: #eef2f3; padding: .1em .35em; border-radius: 4px }}
ul {{ list-style: none; padding: 0; margin: 1.5rem 0 }}
li + li {{ border-top: 1px solid #e1e7e9 }}
li a {{ display: block; padding: .7rem 0; color: #0b5d6b; text-decoration: none }}
li a:hover {{ text-decoration: underline }}
</style>
<h1>TrafficBuster</h1>
<p>The orchestrator runs. Its frontend is not part of this installation; use the command line
(<code>tb --help</code>) or the API:</p>
<ul>
<li><a href="{API_PREFIX}/ready">Status</a></li>
<li><a href="{API_PREFIX}/jobs">Jobs</a></li>
<li><a href="{API_PREFIX}/runners">Runners</a></li>
<li><a href="{API_PREFIX}/openapi.json">The API as an OpenAPI document</a></li>
<li><a href="{API_PREFIX}/job-schema">The JSON Schema of a job</a></li>
</ul>
</html>
"""


def create_app(state: WebState) -> Starlette:
    """The application over `state`, whose parts belong to the caller and must outlive it. Needs a server with
    lifespan; `WebServer` is one."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with FanOut(feed=state.feed, jobs=state.jobs, fleet=state.fleet) as fan_out:
            yield {"web": state, "fan_out": fan_out}

    typed = [
        *jobs.ROUTES,
        *plans.ROUTES,
        *reports.ROUTES,
        *sessions.ROUTES,
        *artifacts.ROUTES,
        *runners.ROUTES,
        *proxies.ROUTES,
        *health.ROUTES,
    ]
    described = codec.encode(document(typed, version=state.version))

    async def openapi(request: Request) -> Response:
        return Response(described, media_type="application/json")

    routes: list[BaseRoute] = [
        Mount(API_PREFIX, routes=[*typed, artifacts.CONTENT, Route("/openapi.json", openapi)]),
        WebSocketRoute("/ws", socket),
        Route("/ws", _upgrade),
        _frontend(state.static),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=[Middleware(SecurityHeaders)],
    )


async def _upgrade(request: Request) -> Response:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return problem_response(426, "/ws is a WebSocket; connect to it with ws:// or wss://", (), headers)


async def _landing(request: Request) -> Response:
    return HTMLResponse(_LANDING)


def _frontend(static: Path | None) -> BaseRoute:
    if static is not None and (static / "index.html").is_file():
        return Mount("/", Frontend(directory=static, html=True))
    return Route("/", _landing)


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


class SecurityHeaders:
    """Headers that keep browsers from guessing, framing and telling; the API's answers are not cached."""

    _ALWAYS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
        (
            b"content-security-policy",
            b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._ALWAYS]
                if scope["path"].startswith(API_PREFIX):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self._app(scope, receive, send_with_headers)
