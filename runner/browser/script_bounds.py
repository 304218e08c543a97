"""Sees to it that what a script raises outside of its function, in a handler or a task of its own, is that
script's failure, and nobody else's.

Playwright raises what a handler has raised in whatever call comes next, of any session. And `sys.exit` in a
task ends the loop, the runner with it and all its sessions.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

from playwright.async_api import Page

#: Where a script's module keeps its run.
RUN = "__run__"


class ScriptExit(BaseException):
    """In place of `SystemExit` and `KeyboardInterrupt`, which no loop survives."""


class Breakable(Protocol):
    def break_off(self, error: BaseException) -> None: ...


def keep_apart(page: Page) -> None:
    """From now on what handlers and tasks of scripts raise goes to `break_off` of their runs."""
    connection: Any = page._impl_obj._connection
    usual = connection._on_event_listener_error
    if not getattr(usual, "keeps_apart", False):

        def heard(error: BaseException) -> None:
            if (run := _run_of(error)) is not None:
                run.break_off(error)
            else:
                usual(error)

        heard.keeps_apart = True  # type: ignore[attr-defined]
        connection._on_event_listener_error = heard
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    if not isinstance(factory, _Factory):
        loop.set_task_factory(_Factory(factory))  # type: ignore[arg-type]


class _Factory:
    """Makes the tasks of a loop in which scripts run, as `before` did, or as usual."""

    def __init__(self, before: Callable[..., asyncio.Future[Any]] | None) -> None:
        self._before = before

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> asyncio.Future[Any]:
        if self._before is None:
            return asyncio.Task(_Contained(coro), loop=loop, context=context)
        more = {} if context is None else {"context": context}
        return self._before(loop, _Contained(coro), **more)


class _Contained(Coroutine[Any, Any, Any]):
    """The coroutine of a task, in all things but one: a script cannot end the program from it."""

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def send(self, value: Any) -> Any:
        try:
            return self._coro.send(value)
        except (SystemExit, KeyboardInterrupt) as e:
            self._ended(e)

    def throw(
        self, kind: Any, value: BaseException | object = None, trace: TracebackType | None = None
    ) -> Any:
        try:
            return self._coro.throw(kind) if value is None else self._coro.throw(kind, value, trace)
        except (SystemExit, KeyboardInterrupt) as e:
            self._ended(e)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()

    def __repr__(self) -> str:
        return repr(self._coro)

    def __getattr__(self, name: str) -> Any:
        # For whoever looks at the task: its name, frame and code.
        return getattr(self._coro, name)

    def _ended(self, error: BaseException) -> None:
        run = _run_of(error)
        if run is None:
            raise error  # the program's own, or the user's Ctrl-C
        run.break_off(error)
        raise ScriptExit(f"{type(error).__name__} in a script") from error


def _run_of(error: BaseException) -> Breakable | None:
    """The run of the script that the error went through."""
    if isinstance(error, ScriptExit) and error.__cause__ is not None:
        error = error.__cause__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        run = frame.f_globals.get(RUN)
        if run is not None:
            return run  # type: ignore[no-any-return]
    return None
