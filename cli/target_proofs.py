"""`tb targets …`: origins of projects, how they are proved, and how much may be sent to them."""

from __future__ import annotations

import time
from typing import Any

from broker_config.errors import Problem, SpecError
from broker_config.people import DEFAULT_PROJECT
from broker_config.target_proof import TargetView

from . import target_table
from .exit_codes import ExitCode
from .output import err, json_line, out, show
from .target_client import TargetClient


async def add(client: TargetClient, project: str, origin: str, *, json: bool) -> None:
    async with client as c:
        made = await c.add_target(project, origin)
    if json:
        json_line(made)
        return
    console = out()
    for line in how_to(made):
        console.print(line, markup=False)


def how_to(target: TargetView) -> list[str]:
    """What to put where, in lines."""
    again = f"tb targets verify {target.origin}{_of(target.project)}"
    if target.state == "verified":
        return [f"{target.origin} is proved already; {again} looks again"]
    of = f"{target.origin} is a target of project {target.project}"
    lines = [f"{of}. To prove that it is yours, do one of:"]
    for n, put in enumerate(target.put, 1):
        lines += ["", f"  {n}. {put.where}", f"       {put.what}"]
    return [*lines, "", f"then: {again}"]


async def verify(
    client: TargetClient, project: str, origin: str, method: str | None, *, json: bool
) -> ExitCode:
    """1 where it is not proved."""
    async with client as c:
        found = await c.verify_target(project, origin, method)
    if json:
        json_line(found)
    elif not found.detail:
        err().print(f"{found.origin} is proved ({found.method})", markup=False)
    else:
        err().print(f"{found.origin} is not proved: {found.detail}", markup=False)
        for put in found.put:
            err().print(f"  {put.where}: {put.what}", markup=False)
    return ExitCode.THRESHOLD_FAILED if found.detail else ExitCode.PASSED


async def show_list(client: TargetClient, project: str, *, json: bool, wide: bool) -> None:
    async with client as c:
        targets = (await c.targets(project)).items
    nothing = f"project {project} has no targets; tb targets add ORIGIN names one"
    show(targets, lambda: target_table.targets(targets, time.time()), json=json, wide=wide, nothing=nothing)


async def set_ceilings(
    client: TargetClient, project: str, origin: str, sessions: str | None, rate: str | None, *, json: bool
) -> None:
    """`none` takes a ceiling away; None leaves it as it is."""
    given: dict[str, Any] = {}
    if sessions is not None:
        given["sessions"] = _number("--sessions", sessions, int)
    if rate is not None:
        given["rate"] = _number("--rate", rate, float)
    if not given:
        raise SpecError([Problem("", "say what to set: --sessions N, --rate R")])
    async with client as c:
        found = await c.set_ceilings(project, origin, given)
    if json:
        json_line(found)
    else:
        err().print(f"{found.origin}: {target_table.ceilings(found) or 'no ceiling'}", markup=False)


async def grant(
    client: TargetClient, project: str, origin: str, *, without_proof: bool, withdraw: bool, json: bool
) -> None:
    async with client as c:
        if withdraw:
            found = await c.withdraw_grant(project, origin)
        else:
            await c.add_target(project, origin)
            found = await c.grant_target(project, origin, without_proof=without_proof)
    if json:
        json_line(found)
    elif withdraw:
        err().print(f"the grant of {found.origin} is withdrawn", markup=False)
    else:
        what = "is used without proof" if without_proof else "still needs its proof: tb targets verify"
        err().print(f"{found.origin} may lead to private addresses, and {what}", markup=False)


async def remove(client: TargetClient, project: str, origin: str, *, json: bool) -> None:
    async with client as c:
        await c.remove_target(project, origin)
    if json:
        json_line({"project": project, "origin": origin})
    else:
        err().print(f"{origin} is no target of project {project} any more", markup=False)


def _number(flag: str, text: str, kind: type) -> Any:
    if text == "none":
        return None
    try:
        number = kind(text)
    except ValueError:
        raise SpecError([Problem(flag, f"{text!r} is not allowed; write a number, or none")]) from None
    if not 0 < number <= 1_000_000:
        raise SpecError([Problem(flag, f"{text} is not allowed; write a number up to 1000000, or none")])
    return number


def _of(project: str) -> str:
    return "" if project == DEFAULT_PROJECT else f" --project {project}"
