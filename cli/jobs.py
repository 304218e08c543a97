"""`tb jobs …`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from broker_config.api import JobView
from broker_config.errors import TrafficBusterError

from . import job_document, render
from .client import Client
from .exit_codes import ExitCode, of_verdict
from .output import err, json_line, out, show
from .watch import watch


async def submit(
    client: Client,
    file: str | None,
    flags: dict[str, Any],
    *,
    watching: bool,
    cancelling: bool,
    key: str | None,
    json: bool,
) -> ExitCode:
    """The exit code: of the verdict if the job is watched. `cancelling` as in `follow`."""
    document = await job_document.read(file, flags)
    async with client as c:
        view = await c.submit(document, key=key, source="cli")
        return await _taken_on(c, view, watching=watching, cancelling=cancelling, json=json)


async def retry(client: Client, job: str, *, watching: bool, cancelling: bool, json: bool) -> ExitCode:
    async with client as c:
        view = await c.retry(job)
        return await _taken_on(c, view, watching=watching, cancelling=cancelling, json=json)


async def _taken_on(
    client: Client, view: JobView, *, watching: bool, cancelling: bool, json: bool
) -> ExitCode:
    job = view.job.id
    if not watching:
        if json:
            json_line(view)
        else:
            out().print(job)
            err().print(f"submitted; follow it with: tb jobs watch {job}", markup=False)
        return ExitCode.PASSED
    err().print(f"job {job}", markup=False)
    return await _follow(client, job, cancelling=cancelling, json=json)


async def _cancel(client: Client, job: str) -> None:
    try:
        async with asyncio.timeout(10):
            view = await client.command(job, "cancel")
    except (TrafficBusterError, TimeoutError) as e:
        why = str(e) or "no answer in 10 s"
        err().print(f"job {job} could not be cancelled and may go on: {why}", markup=False)
        err().print(f"  tb jobs cancel {job} tries again", markup=False)
    else:
        err().print(f"no longer watching; the job is cancelled (state {view.job.state})", markup=False)


async def audit(client: Client, job: str, *, json: bool) -> ExitCode:
    async with client as c:
        view = await c.audit(job)
    show([view], lambda: render.audit(view), json=json)
    return ExitCode.PASSED if view.agrees else ExitCode.INFRASTRUCTURE


async def follow(client: Client, job: str, *, cancelling: bool, json: bool) -> ExitCode:
    """Watch a job to its end. Interrupted, the job goes on, or is cancelled too if `cancelling`."""
    async with client as c:
        return await _follow(c, job, cancelling=cancelling, json=json)


async def _follow(client: Client, job: str, *, cancelling: bool, json: bool) -> ExitCode:
    try:
        done = await watch(client, job)
    except asyncio.CancelledError:
        if cancelling:
            await _cancel(client, job)
        else:
            err().print("no longer watching; the job goes on", markup=False)
            err().print(f"  tb jobs watch {job} comes back, tb jobs cancel {job} ends it", markup=False)
        raise
    if json:
        json_line(done)
    else:
        out().print(render.summary(done))
    return of_verdict(done.verdict)


async def show_list(client: Client, *, state: str | None, limit: int, json: bool) -> None:
    rows: list[Any] = []
    cursor: str | None = None
    async with client as c:
        while len(rows) < limit:
            page = await c.jobs(state=state, limit=min(500, limit - len(rows)), cursor=cursor)
            rows += page.items
            cursor = page.next
            if cursor is None:
                break
    show(rows, lambda: render.jobs(rows, time.time()), json=json, nothing="no jobs")


async def show_one(client: Client, job: str, *, json: bool) -> None:
    async with client as c:
        view = await c.job(job)
        detail = await c.detail(job)
    show([view], lambda: render.job(view, detail), json=json)


async def order(client: Client, job: str, command: str, *, json: bool) -> None:
    async with client as c:
        view = await c.command(job, command)
    if json:
        json_line(view)
    else:
        err().print(f"job {job}: {command} is under way (state {view.job.state})", markup=False)
