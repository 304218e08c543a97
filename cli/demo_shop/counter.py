"""Counts the requests that reach the shop: the site's own word on what a job sent."""

from __future__ import annotations

import re
from collections import Counter

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

#: Different paths, and different sessions, that are told apart; what comes later is counted as `OTHER`.
MOST_PATHS = 200
MOST_AGENTS = 20_000
OTHER = "(other)"
_MARK = re.compile(r"\(job=[^()]{1,100}; session=\d{1,12}; attempt=\d{1,6}\)")


class RequestCounter:
    """ASGI middleware that counts all requests but those for its own numbers (below `/_stats`).

    Counted by path and by the attempt that the user agent names, `(job=…; session=…; attempt=…)`.
    """

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.agents: Counter[str] = Counter()
        self.total = 0

    def wrap(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not scope["path"].startswith("/_stats"):
                self.note(scope["path"], Headers(scope=scope).get("user-agent", ""))
            await app(scope, receive, send)

        return counted

    def note(self, path: str, user_agent: str) -> None:
        self.total += 1
        _count(self.paths, path if len(path) <= 200 else OTHER, MOST_PATHS)
        if mark := _MARK.search(user_agent):
            _count(self.agents, mark[0], MOST_AGENTS)

    async def show(self, request: Request) -> Response:
        """`GET /_stats`"""
        return JSONResponse({"paths": self.paths, "agents": self.agents, "total": self.total})

    async def reset(self, request: Request) -> Response:
        """`POST /_stats/reset`"""
        self.paths.clear()
        self.agents.clear()
        self.total = 0
        return Response(status_code=204)


def _count(counter: Counter[str], key: str, most: int) -> None:
    counter[key if key in counter or len(counter) < most else OTHER] += 1
