"""`/proxies`: pools of proxies. What is read back never holds a user name or a password."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from broker_config.api import (
    ProxyImport,
    ProxyLines,
    ProxyPoolList,
    ProxyPoolView,
    ProxySwitch,
    ProxyTestOrder,
    ProxyTestReport,
)
from broker_config.errors import KillHolds, Problem
from orchestrator.core.access import Access
from orchestrator.core.kill import refusal as kill_refusal

from .problems import RequestRefused
from .typed_route import TypedRoute
from .web_state import web

MAX_LINES = 4 << 20


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """The pool that is no more."""

    name: str


async def list_pools(request: Request) -> ProxyPoolList:
    """All pools, by name."""
    return ProxyPoolList(items=await web(request).proxies.pools())


async def get_pool(request: Request, *, name: str) -> ProxyPoolView:
    """The proxies of a pool, in order, with their last tests."""
    return await web(request).proxies.view(name)


async def replace_pool(request: Request, *, name: str, body: ProxyLines) -> ProxyImport:
    """Make a pool of these lines, in place of what it was.

    Lines that cannot be used are reported, and left out; 422 if none can be used.
    """
    return await web(request).proxies.take(name, body.lines, replace=True)


async def add_to_pool(request: Request, *, name: str, body: ProxyLines) -> ProxyImport:
    """Add lines to a pool, or make it.

    A proxy that is there already takes over the password. Lines that cannot be used are reported, and left
    out; 422 if none can be used.
    """
    return await web(request).proxies.take(name, body.lines, replace=False)


async def switch_proxies(request: Request, *, name: str, body: ProxySwitch) -> ProxyPoolView:
    """Enable or disable proxies of a pool.

    Jobs that run take the change over within seconds.
    """
    if body.all == bool(body.proxies):
        wrong = Problem("proxies", "name the proxies, or say that all are meant; not both")
        raise RequestRefused(422, str(wrong), [wrong])
    return await web(request).proxies.switch(name, None if body.all else body.proxies, enabled=body.enabled)


async def test_proxies(request: Request, *, name: str, body: ProxyTestOrder) -> ProxyTestReport:
    """Test some proxies of a pool from a runner.

    Without a URL nobody but the proxy is talked to: that shows whether it answers, and takes the credentials.
    With one it is asked for through each.
    """
    if fleet := (await web(request).kills.read()).get("fleet"):
        raise KillHolds(kill_refusal(fleet, "be tested"))
    return await web(request).proxy_trials.test(name, first=body.first, url=body.url, runner=body.runner)


async def remove_pool(request: Request, *, name: str) -> Removed:
    """Remove a pool. Sessions of jobs that run by it fail from then on."""
    await web(request).proxies.remove(name)
    return Removed(name=name)


_BROKER = (502, 503)
_SEE = Access(scope="fleet", role="viewer")
_TEST = Access(scope="fleet", role="operator")
_CHANGE = Access(scope="fleet", role="admin")
ROUTES = [
    TypedRoute("GET", "/proxies", list_pools, tag="proxies", access=_SEE, problems=_BROKER),
    TypedRoute("GET", "/proxies/{name}", get_pool, tag="proxies", access=_SEE, problems=(404, *_BROKER)),
    TypedRoute(
        "PUT",
        "/proxies/{name}",
        replace_pool,
        tag="proxies",
        access=_CHANGE,
        audits="proxies.replace",
        problems=(409, 507, *_BROKER),
        max_body=MAX_LINES,
    ),
    TypedRoute(
        "POST",
        "/proxies/{name}/lines",
        add_to_pool,
        tag="proxies",
        access=_CHANGE,
        audits="proxies.add",
        problems=(409, 507, *_BROKER),
        max_body=MAX_LINES,
    ),
    TypedRoute(
        "PATCH",
        "/proxies/{name}",
        switch_proxies,
        tag="proxies",
        access=_CHANGE,
        audits="proxies.switch",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "POST",
        "/proxies/{name}/test",
        test_proxies,
        tag="proxies",
        access=_TEST,
        audits="proxies.test",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/proxies/{name}",
        remove_pool,
        tag="proxies",
        access=_CHANGE,
        audits="proxies.remove",
        problems=(404, *_BROKER),
    ),
]
