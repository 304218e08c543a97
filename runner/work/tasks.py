"""Small helpers for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from broker_config.errors import TrafficBusterError


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless the event comes first: then it is cancelled, and the answer is False."""
    task, told = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        return False
    task.result()
    return True


def main_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell: one that was raised on purpose, if there is one, else the first."""
    errors = list(_leaves(group))
    return next((e for e in errors if isinstance(e, TrafficBusterError)), errors[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
