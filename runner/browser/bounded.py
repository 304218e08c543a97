"""Waiting for a browser that may never answer: a limit, then cancellation, then force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Seconds after cancellation, and after each use of force.
GRACE = 2.0


async def bounded(work: Coroutine[Any, Any, T], limit: float, force: Sequence[Callable[[], None]]) -> T:
    """Await `work` for `limit` seconds; raise `TimeoutError` where that is not enough.

    Then, and when the caller is cancelled, `end` sees to it that the work does end.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await end({task}, force)


async def end(
    tasks: set[asyncio.Task[Any]], force: Sequence[Callable[[], None]], grace: float = GRACE
) -> None:
    """Wait until the tasks have ended, without raising what they raise.

    A cancelled call to Playwright still waits for its driver, and the driver for the browser. So if tasks go
    on after `grace` seconds, each of `force` (kill the browser, kill the driver) is called in turn. A
    cancellation here ends the patience: the first of `force` is called at once.
    """
    pending = {t for t in tasks if not t.done()}
    try:
        if pending:
            _, pending = await asyncio.wait(pending, timeout=grace)
        for step in force:
            if not pending:
                break
            step()
            _, pending = await asyncio.wait(pending, timeout=GRACE)
    except asyncio.CancelledError:
        if force:
            force[0]()
        raise
    finally:
        for task in tasks:
            task.add_done_callback(_heard)
    if pending:
        log.error("%d browser calls did not end, even with their driver killed", len(pending))


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of the exception, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
