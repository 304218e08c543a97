"""`tb secrets …`: secrets of projects. Values go in, and never come out."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path

from broker_config.errors import Problem, SpecError
from broker_config.secret_ref import MAX_BYTES, name_problem

from . import secret_table
from .client import Client
from .output import err, json_line, show


def value(name: str, file: str | None) -> str:
    """The value: of the file, of stdin, or as it is typed unseen. Raises `SpecError`."""
    if wrong := name_problem(name):
        raise SpecError([Problem("", wrong)])
    if file is None and sys.stdin.isatty():
        try:
            return getpass.getpass(f"value of {name}: ")
        except EOFError:
            raise SpecError([Problem("", "no value was given")]) from None
    source = "standard input" if file in (None, "-") else str(file)
    try:
        data = _read(file)
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], source) from None
    # With its line break it may be longer.
    if len(data) > MAX_BYTES + 2:
        raise SpecError([Problem("", f"it is over the limit of {MAX_BYTES >> 10} KiB")], source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError([Problem("", "it is not UTF-8 text")], source) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SpecError([Problem("", "it is empty")], source)
    return text


async def put(client: Client, project: str, name: str, value: str, *, json: bool) -> None:
    async with client as c:
        done = await c.set_secret(project, name, value)
    if json:
        json_line(done)
    else:
        err().print(f"secret {name} of project {project} is set", markup=False)


async def show_list(client: Client, project: str, *, json: bool) -> None:
    async with client as c:
        secrets = (await c.secrets(project)).items
    nothing = f"project {project} has no secrets; tb secrets set NAME stores one"
    show(secrets, lambda: secret_table.secrets(secrets, time.time()), json=json, nothing=nothing)


async def remove(client: Client, project: str, name: str, *, json: bool) -> None:
    async with client as c:
        await c.remove_secret(project, name)
    if json:
        json_line({"project": project, "name": name})
    else:
        err().print(f"secret {name} of project {project} is removed", markup=False)


def _read(file: str | None) -> bytes:
    if file in (None, "-"):
        return sys.stdin.buffer.read(MAX_BYTES + 3)
    with Path(str(file)).open("rb") as source:
        return source.read(MAX_BYTES + 3)
