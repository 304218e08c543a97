"""`tb jobs …`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from broker_config.api import JobDetail, JobView
from broker_config.errors import BrokerUnavailable, TrafficBusterError
from broker_config.job import Job
from broker_config.people import DEFAULT_PROJECT

from . import job_document, render
from .client import Client, ServerError
from .exit_codes import ExitCode, of_verdict
from .fallen import Fallen
from .job_summary import summary
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
    project: str = DEFAULT_PROJECT,
    json: bool,
) -> ExitCode:
    """The exit code: of the verdict if the job is watched. `cancelling` as in `follow`."""
    document = await job_document.read(file, flags)
    async with client as c:
        view = await c.submit(document, key=key, source="cli", project=project)
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
    fallen = Fallen(lambda text: err().print(text, markup=False))
    try:
        done = await watch(client, job, on_log=fallen.hear if await _has_proxies(client, job) else None)
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
        out().print(summary(done, await detail_of(client, job), fallen.reasons))
    return of_verdict(done.verdict)


async def _has_proxies(client: Client, job: str) -> bool:
    try:
        return not (await client.job(job)).job.spec.egress.is_direct
    except (BrokerUnavailable, ServerError):
        return True  # perhaps; the watch waits until it can be known, or says that it cannot


async def detail_of(client: Client, job: str) -> JobDetail | None:
    """What a summary can do without, where it cannot be had."""
    try:
        return await client.detail(job)
    except TrafficBusterError as e:
        err().print(f"steps and values of thresholds are left out: {e}", markup=False)
        return None


async def show_list(
    client: Client, *, state: str | None, project: str | None = None, limit: int, json: bool, wide: bool
) -> None:
    rows: list[Any] = []
    cursor: str | None = None
    async with client as c:
        while len(rows) < limit:
            page = await c.jobs(
                state=state, project=project, limit=min(500, limit - len(rows)), cursor=cursor
            )
            rows += page.items
            cursor = page.next
            if cursor is None:
                break
    nothing = f"no jobs that are {state}" if state else "no jobs; tb jobs submit makes one"
    show(rows, lambda: render.jobs(rows, time.time()), json=json, wide=wide, nothing=nothing)


async def show_one(client: Client, job: str, *, json: bool) -> None:
    async with client as c:
        view = await c.job(job)
        detail = await c.detail(job)
    show([view], lambda: render.job(view, detail), json=json)


async def order(client: Client, job: str, command: str, *, json: bool) -> None:
    async with client as c:
        before = (await c.job(job)).job
        view = await c.command(job, command)
    if json:
        json_line(view)
    else:
        err().print(f"job {job} {_told(command, before, view.job)}", markup=False)


def _told(command: str, before: Job, now: Job) -> str:
    """What has become of an order."""
    if before.desired != now.desired:
        words, under_way, state = _ORDERS[command]
        return words if now.state == state else under_way
    if command == "cancel":
        return "was cancelled already" if now.state == "finished" else "is being cancelled already"
    if command == "pause":
        return "is paused already"
    return f"is not paused: it is {now.state}"


#: What an order has done, what it is doing, and the state that follows from it.
_ORDERS = {
    "pause": ("is paused", "is being paused: no new session begins", "paused"),
    "resume": ("goes on", "is resumed", "running"),
    "cancel": ("is cancelled", "is being cancelled: running sessions are ended", "finished"),
}
