"""The whole site."""

from __future__ import annotations

import itertools
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import account, browsing, buying
from .counter import RequestCounter
from .pictures import draw_all

_STATIC = {"shop.css": "text/css", "shop.js": "text/javascript"}
_CACHED = {"cache-control": "public, max-age=600"}


def create_shop(*, slow_seconds: float = 2.0) -> Starlette:
    """The site as an application of its own; it remembers nothing but how often it was asked for what.

    `GET /_stats` answers `{"paths": {path: n}, "agents": {"(job=…; session=…; attempt=…)": n}, "total": n}`,
    `POST /_stats/reset` starts the counts again. `/slow` answers after `slow_seconds`, `/error` with 500.
    """
    counter = RequestCounter()
    app = Starlette(
        routes=[
            *browsing.ROUTES,
            *buying.ROUTES,
            *account.ROUTES,
            *(_file(f"/static/{name}", _read(name), kind) for name, kind in _STATIC.items()),
            *(_file(f"/pictures/{name}", body, "image/svg+xml") for name, body in draw_all().items()),
            Route("/_stats", counter.show),
            Route("/_stats/reset", counter.reset, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.add_middleware(counter.wrap)
    app.state.slow_seconds = slow_seconds
    app.state.orders = itertools.count(1)
    return app


def _file(path: str, body: bytes, kind: str) -> Route:
    async def file(request: Request) -> Response:
        return Response(body, media_type=kind, headers=_CACHED)

    return Route(path, file)


def _read(name: str) -> bytes:
    return (resources.files(__package__) / "static" / name).read_bytes()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return browsing.broken(request, 404, "Not here", f"There is nothing at {request.url.path}.")
    return browsing.broken(request, error.status_code, "That did not work", error.detail)
