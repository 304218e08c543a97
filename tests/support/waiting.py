"""Waiting for what has no event to wait for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T | None]],
    deadline: float = ...,
    *,
    what: str = ...,
    interval: float = ...,
) -> T: ...


@overload
async def eventually(
    predicate: Callable[[], T], deadline: float = ..., *, what: str = ..., interval: float = ...
) -> T: ...


async def eventually(
    predicate: Callable[[], Any],
    deadline: float = 10.0,
    *,
    what: str = "",
    interval: float = 0.02,
) -> Any:
    """Ask `predicate` (a function, async or not) until it answers something true; returns the answer.

    Fails after `deadline` seconds, with `what` and the last answer.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if clock() > end:
            raise AssertionError(
                f"not within {deadline:g} s: {what or predicate}; the last answer was {value!r}"
            )
        await asyncio.sleep(interval)
