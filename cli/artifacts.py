"""`tb artifacts …`: what the sessions of a job left behind."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from broker_config.api import ArtifactView
from broker_config.artifacts import ArtifactName
from broker_config.errors import NameRefused

from . import artifact_table
from .client import Client, ServerError
from .exit_codes import ExitCode
from .output import err, json_line, out, show

_PAGE = 500


async def show_list(client: Client, job: str, *, session: int | None, limit: int, json: bool) -> None:
    async with client as c:
        found = await _all(c, job, session, limit)
    nothing = "no artifacts; a job keeps those that `artifacts` in its spec names"
    show(found, lambda: artifact_table.artifacts(found, time.time()), json=json, nothing=nothing)


async def get(
    client: Client, job: str, name: str | None, *, session: int | None, output: Path | None, json: bool
) -> None:
    """Write the artifacts into `output`, in a folder for each attempt; the paths go to stdout."""
    folder = output or Path(f"artifacts-{job}")
    async with client as c:
        if name is not None:
            names = [_full(job, name)]
        else:
            names = [_checked(job, view) for view in await _all(c, job, session)]
        for one in names:
            path = await _fetch(c, one, folder)
            if json:
                json_line({"name": str(one), "path": str(path)})
            else:
                out().print(str(path), markup=False, soft_wrap=True)
    if not names:
        err().print("no artifacts", markup=False)


async def open_one(client: Client, job: str, name: str, *, output: Path | None) -> ExitCode:
    """Get it, and show it where there is a display; else say how to."""
    async with client as c:
        path = await _fetch(c, _full(job, name), output or Path(f"artifacts-{job}"))
    command, others = _viewer(path)
    if command is None:
        err().print(f"{path} is there. {others}", markup=False, soft_wrap=True)
        return ExitCode.PASSED
    err().print(f"{path}: {shlex.join(command)}", markup=False, soft_wrap=True)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return ExitCode.PASSED if code == 0 else ExitCode.INFRASTRUCTURE


async def _all(client: Client, job: str, session: int | None, limit: int | None = None) -> list[ArtifactView]:
    found: list[ArtifactView] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        most = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = await client.artifacts(job, session=session, limit=most, cursor=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    return found


def _full(job: str, name: str) -> ArtifactName:
    """From a whole name, or what follows the job's id in it. Raises `NameRefused`."""
    try:
        found = ArtifactName.parse(name if name.startswith(f"{job}/") else f"{job}/{name}")
    except ValueError:
        raise NameRefused(
            f"{name!r} is not the name of an artifact; `tb artifacts list {job}` shows them: 17.1/failure.jpg"
        ) from None
    return found


def _checked(job: str, view: ArtifactView) -> ArtifactName:
    """Its name becomes a path: nothing that the server says may lead out of the folder."""
    try:
        return ArtifactName.parse(view.name)
    except ValueError as e:
        raise ServerError(f"the server's list cannot be used: {e}") from None


async def _fetch(client: Client, name: ArtifactName, folder: Path) -> Path:
    path = folder / f"{name.session}.{name.attempt}" / name.file
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            async for chunk in client.artifact(str(name)):
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _viewer(path: Path) -> tuple[list[str] | None, str]:
    """The command that shows it here, or None and what else can be done."""
    display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(v) for v in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if path.name == "trace.zip":
        show_trace = [sys.executable, "-m", "playwright", "show-trace", str(path)]
        if display and importlib.util.find_spec("playwright") is not None:
            return show_trace, ""
        words = shlex.join(["playwright", "show-trace", str(path)])
        return None, f"Where there is a display: {words}; or drop it onto https://trace.playwright.dev"
    program = {"win32": "explorer", "darwin": "open"}.get(sys.platform, "xdg-open")
    if display and shutil.which(program):
        return [program, str(path)], ""
    return None, "There is no display here to show it on."
