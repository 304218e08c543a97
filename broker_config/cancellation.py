"""Cancellation that is not lost.

`asyncio.wait_for` of Python 3.11 returns its result when a cancellation arrives in the same turn of the loop
(bpo-37658), and nats-py waits with it in `request`, `next_msg` and `flush`. The cancelled task then goes on
for ever. `kept` raises what was swallowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def kept(awaitable: Awaitable[T]) -> T:
    """Await it; raises `CancelledError` if the task was cancelled meanwhile, even where it returned."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await awaitable
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
