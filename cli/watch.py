"""Following a job to its end, live, over the WebSocket."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing

from rich.live import Live

from broker_config.api import Log, Progress, Snapshot, SocketProblem
from broker_config.errors import JobNotFound
from broker_config.messages import JobLog, JobProgress

from . import render
from .client import Client
from .output import err

#: Plain lines, where stderr is no terminal, come at most this often, s.
PLAIN_EVERY = 2.0


async def watch(
    client: Client,
    job: str,
    *,
    on_progress: Callable[[JobProgress], None] | None = None,
    on_log: Callable[[JobLog], None] | None = None,
) -> JobProgress:
    """Show the job's progress on stderr until it is finished; its last progress.

    On a terminal a block is redrawn; elsewhere there is a line now and then. `on_progress` hears every state,
    `on_log` what happens in sessions.
    """
    console = err()
    latest: JobProgress | None = None
    note = ""
    said_at = 0.0
    async with AsyncExitStack() as stack:
        live = None
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True))

        def say(text: str) -> None:
            nonlocal note
            note = text
            if live is None:
                console.print(text, markup=False)
            elif latest is not None:
                live.update(render.live(latest, note), refresh=True)

        messages = await stack.enter_async_context(
            aclosing(client.follow(job, say=say, logs=on_log is not None))
        )
        async for message in messages:
            if isinstance(message, SocketProblem):
                raise JobNotFound(message.detail)
            if isinstance(message, Log) and on_log is not None:
                on_log(message.log)
            if not isinstance(message, Snapshot | Progress):
                continue
            latest = message.progress
            note = ""
            if on_progress is not None:
                on_progress(latest)
            if latest.state == "finished":
                return latest
            now = time.monotonic()
            if live is not None:
                live.update(render.live(latest, note), refresh=True)
            elif now - said_at >= PLAIN_EVERY:
                said_at = now
                console.print(render.progress_line(latest), markup=False)
    raise AssertionError("the tail of a job ends with the job")
