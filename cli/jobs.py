"""`tb jobs …`."""

from __future__ import annotations

import sys
import time
from typing import Any

from broker_config.api import JobView
from broker_config.errors import Problem, SpecError
from broker_config.job_spec import read_spec

from . import render, spec_file
from .client import Client, as_json
from .exit_codes import ExitCode, of_verdict
from .output import err, out, show
from .watch import watch


async def submit(
    client: Client,
    file: str | None,
    flags: dict[str, Any],
    *,
    watching: bool,
    key: str | None,
    json: bool,
) -> ExitCode:
    """The exit code: of the verdict if the job is watched."""
    if file is None and not flags.get("url"):
        raise SpecError([Problem("", "there is no job: name a spec file, or give --url and --sessions")])
    document = spec_file.merged(spec_file.read(file) if file else {}, flags)
    # Checked here too: the message can name the file, and nothing is sent in vain.
    read_spec(document, file or "")
    async with client as c:
        view = await c.submit(document, key=key, source="cli")
        return await _taken_on(c, view, watching=watching, json=json)


async def retry(client: Client, job: str, *, watching: bool, json: bool) -> ExitCode:
    async with client as c:
        return await _taken_on(c, await c.retry(job), watching=watching, json=json)


async def _taken_on(client: Client, view: JobView, *, watching: bool, json: bool) -> ExitCode:
    job = view.job.id
    if not watching:
        if json:
            print(as_json(view))
        else:
            out().print(job)
            err().print(f"submitted; follow it with: tb jobs watch {job}", markup=False)
        return ExitCode.PASSED
    err().print(f"job {job}", markup=False)
    return await _follow(client, job, json=json)


async def audit(client: Client, job: str, *, json: bool) -> ExitCode:
    async with client as c:
        view = await c.audit(job)
    show([view], lambda: render.audit(view), json=json)
    return ExitCode.PASSED if view.agrees else ExitCode.INFRASTRUCTURE


async def follow(client: Client, job: str, *, json: bool) -> ExitCode:
    async with client as c:
        return await _follow(c, job, json=json)


async def _follow(client: Client, job: str, *, json: bool) -> ExitCode:
    try:
        done = await watch(client, job)
    except BaseException:
        err().print("no longer watching; the job goes on", markup=False)
        err().print(f"  tb jobs watch {job} comes back, tb jobs cancel {job} ends it", markup=False)
        raise
    if json:
        print(as_json(done))
        sys.stdout.flush()
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
    show([view], lambda: render.job(view), json=json)


async def order(client: Client, job: str, command: str, *, json: bool) -> None:
    async with client as c:
        view = await c.command(job, command)
    if json:
        print(as_json(view))
    else:
        err().print(f"job {job}: {command} is under way (state {view.job.state})", markup=False)
