"""Runners and platforms as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from broker_config.api import PlatformView, RunnerView
from broker_config.words import size

from .table import Table, row, table
from .words import ago, clock_time, coloured


def runners(rows: Sequence[RunnerView], now: float) -> Table:
    names = ("id", "state", "busy", "platforms", "cpu", "memory", "seen")
    right = ["busy", "cpu", "memory"]
    out = table(*names, right=right, spare=["memory", "cpu"], cut=["platforms"])
    for r in rows:
        row(
            out,
            r.id,
            coloured(r.state),
            f"{r.busy}/{r.slots}",
            ", ".join(p.platform for p in r.platforms),
            f"{r.cpu:.0%}",
            size(r.memory_own),
            ago(r.last_seen, now),
        )
    return out


def runner(r: RunnerView, now: float) -> RenderableType:
    facts = Grid.grid(padding=(0, 2))
    for name, value in (
        ("id", r.id),
        ("state", coloured(r.state)),
        ("host", r.hostname or "–"),
        ("version", r.version or "–"),
        ("slots", f"{r.busy} busy of {r.slots}"),
        ("platforms", ", ".join(f"{p.platform} ({p.browser_version})" for p in r.platforms)),
        ("pool", r.pool or "–"),
        ("labels", ", ".join(f"{k}={v}" for k, v in r.labels.items()) or "–"),
        ("cpu", f"{r.cpu:.0%} of the machine, {r.cpu_own:.2f} cores of its own"),
        ("memory", f"{size(r.memory_own)} of its own"),
        ("sessions done", str(r.sessions_done)),
        ("started", clock_time(r.started_at)),
        ("last seen", ago(r.last_seen, now)),
    ):
        row(facts, Text(name, "dim"), value)
    if not r.running:
        return facts
    running = table("job", "session", "attempt", "since", right=["session", "attempt"])
    for s in r.running:
        row(running, s.job, str(s.session), str(s.attempt), ago(s.since, now))
    return Group(facts, Text(""), running)


def platforms(rows: Sequence[PlatformView]) -> Table:
    right = ["runners", "slots", "free"]
    out = table("platform", "runners", "slots", "free", right=right)
    for p in rows:
        row(out, p.platform, str(p.runners), str(p.slots), str(p.free))
    return out
