"""`tb jobs plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from broker_config.job_plan import JobPlan, Span
from broker_config.people import DEFAULT_PROJECT

from . import job_document
from .client import Client
from .output import show
from .table import row, table

#: Lines of a table; the rest is counted.
_LINES = 20
_BAR = 30


async def plan(
    client: Client,
    file: str | None,
    flags: dict[str, Any],
    *,
    project: str = DEFAULT_PROJECT,
    json: bool,
) -> None:
    """Show what a job would run; it is not stored, and no target is asked."""
    document = await job_document.read(file, flags)
    async with client as c:
        found = await c.plan(document, project=project)
    show([found], lambda: _shown(found), json=json)


def _shown(plan: JobPlan) -> RenderableType:
    about = "about " if plan.sessions < plan.most_sessions else ""
    head = Text.assemble(
        (plan.name, "bold"),
        f"  {about}{plan.sessions} sessions by {plan.executor}, {plan.at_once} at once; ",
        (f"about {_time(plan.duration.likely)}", "bold"),
        f" ({_bounds(plan.duration)})",
    )
    parts: list[RenderableType] = [
        head,
        Text(f"  a session takes about {_time(plan.session.likely)}"),
        Text(""),
    ]
    parts += [_counts("target", list(plan.targets.items())), Text(""), _platforms(plan)]
    if plan.devices:
        parts += [Text(""), _counts("device", list(plan.devices.items()))]
    parts += [Text(""), _minutes(plan.minutes), Text("")]
    parts += [Text(f"  {line}", "dim") for line in ("the estimate rests on:", *plan.rests_on)]
    parts += [Text(f"! {line}", "yellow") for line in plan.warnings]
    return Group(*parts)


def _counts(what: str, rows: Sequence[tuple[str, int]]) -> RenderableType:
    out = table(what, "sessions", right=["sessions"], cut=[what])
    for name, n in rows[:_LINES]:
        row(out, name, str(n))
    if more := rows[_LINES:]:
        row(out, Text(f"and {len(more)} more", "dim"), str(sum(n for _, n in more)))
    return out


def _platforms(plan: JobPlan) -> RenderableType:
    right = ["sessions", "runners", "slots", "free"]
    out = table("platform", "sessions", "runs on", "runners", "slots", "free", right=right)
    for p in plan.platforms:
        runs_on = Text("–", "yellow") if p.runs_on is None else Text(p.runs_on)
        row(out, p.platform, str(p.sessions), runs_on, str(p.runners), str(p.slots), str(p.free))
    return out


def _minutes(minutes: Sequence[int]) -> RenderableType:
    """A bar for each minute; where there are many, for stretches of them."""
    width = -(-len(minutes) // _LINES)
    out = table("minute", "begin", "", right=["minute", "begin"])
    sums = [sum(minutes[i : i + width]) for i in range(0, len(minutes), width)]
    most = max(sums, default=0)
    for i, n in enumerate(sums):
        first, last = i * width + 1, min(len(minutes), (i + 1) * width)
        name = str(first) if first == last else f"{first}–{last}"
        row(out, name, str(n), Text("█" * round(_BAR * n / most) if most else "", "cyan"))
    return out


def _bounds(span: Span) -> str:
    least = f"at least {_time(span.least)}"
    return least if span.most is None else f"{least}, at most {_time(span.most)}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"
