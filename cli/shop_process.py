"""`tb demo-shop`: the demo shop alone."""

from __future__ import annotations

import asyncio
import contextlib

from orchestrator.web.server import WebServer

from . import stop_signals
from .demo_shop import create_shop
from .exit_codes import ExitCode
from .output import err


async def serve(port: int) -> ExitCode:
    """Serve on loopback until SIGINT or SIGTERM; 0 takes a free port."""

    async def work() -> None:
        async with WebServer(create_shop(), host="127.0.0.1", port=port) as shop:
            err().print(f"the demo shop is at {shop.url}; Ctrl-C ends it", markup=False)
            await asyncio.Event().wait()

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(work())
    return ExitCode.PASSED
