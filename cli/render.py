"""What people see: tables and lines from the API's types. Pure: no I/O, the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from broker_config.api import AuditView, JobDetail, JobRow, JobView, SessionRow
from broker_config.job import Job
from broker_config.load import peak
from broker_config.messages import GroupSummary, JobProgress, Summary
from broker_config.sketch import Sketch

from . import threshold_table
from .table import row as _row
from .table import table as _table
from .words import STATE_COLOURS, ago, clock_time, coloured, milliseconds, size

#: Metrics of the summary, in this order, with their names for people.
_METRICS = {
    "ttfb": "time to first byte",
    "fcp": "first contentful paint",
    "lcp": "largest contentful paint",
    "dcl": "DOM content loaded",
    "load": "page load",
    "inp": "interaction to next paint",
    "cls": "layout shift",
    "duration": "session",
    "start_error": "started late by",
}


# --- a running job -----------------------------------------------------------------------------------------


def progress_line(p: JobProgress) -> str:
    """One plain line, for output that is no terminal."""
    c = p.counts
    load = p.metrics.get("load")
    parts = [
        f"{p.state} {c.ended}/{c.planned}",
        f"{p.rate:.1f}/s",
        f"ok {c.ok}",
        f"failed {c.failed}",
        f"running {c.running}",
        f"load p50 {milliseconds(load.p50 if load else None)} p95 {milliseconds(load.p95 if load else None)}",
        f"runners {p.runners}",
    ]
    if p.waiting_for and p.state != "finished":
        parts.append(f"waiting for {', '.join(p.waiting_for)}")
    return "  ".join(parts)


def live(p: JobProgress, note: str = "") -> RenderableType:
    """The block that a terminal shows while a job runs; 4 lines, fits 80 columns."""
    c = p.counts
    load = p.metrics.get("load")
    head = Text.assemble((p.name, "bold"), "  ", coloured(p.state), f"  {p.job}", style="")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(1, c.planned), completed=c.ended, width=40),
        Text(f"{c.ended}/{c.planned}", style="bold"),
        Text(f"{p.rate:.1f} sessions/s", style="cyan"),
    )
    numbers = Text.assemble(
        ("ok ", "dim"),
        (str(c.ok), "green"),
        ("   failed ", "dim"),
        (str(c.failed), "red" if c.failed else ""),
        ("   running ", "dim"),
        str(c.running),
        ("   page load p50 ", "dim"),
        milliseconds(load.p50 if load else None),
        ("  p95 ", "dim"),
        milliseconds(load.p95 if load else None),
        ("   runners ", "dim"),
        str(p.runners),
    )
    lines: list[RenderableType] = [head, bar, numbers]
    if p.waiting_for and p.state != "finished":
        lines.append(Text(f"waiting for {', '.join(p.waiting_for)}: no online runner offers it", "yellow"))
    if note:
        lines.append(Text(note, "yellow"))
    return Group(*lines)


def summary(p: JobProgress, detail: JobDetail | None = None) -> RenderableType:
    """How a job stands or has ended: verdict, counts, metrics, groups, errors, thresholds. `detail` adds the
    metrics without saturated sessions, and what thresholds were compared with."""
    c = p.counts
    verdict = p.verdict or p.state
    took = f" in {p.ended_at - p.started_at:.1f} s" if p.ended_at and p.started_at else ""
    head = Text.assemble(
        ("● ", STATE_COLOURS.get(verdict, "")), (verdict, f"bold {STATE_COLOURS.get(verdict, '')}")
    )
    head.append(f"  {p.name} ({p.job}){took}")
    parts: list[RenderableType] = [head]
    if p.reason:
        parts.append(Text(f"  {p.reason}"))
    ends = [(n, getattr(c, n)) for n in ("cancelled", "lost", "dropped") if getattr(c, n)]
    tail = "".join(f", {n} {name}" for name, n in ends)
    parts.append(Text(f"  {c.planned} sessions: {c.ok} ok, {c.failed} failed{tail}"))
    if c.retried or c.superseded:
        words = f"  {c.retried} needed more than one attempt, {c.superseded} attempts superseded"
        parts.append(Text(words, "dim"))
    if c.saturated:
        words = f"  {c.saturated} ran while their machine was short of CPU: their times may be too long"
        parts.append(Text(words, "yellow"))
    if c.late:
        parts.append(Text(f"  {c.late} started more than 100 ms after their time", "yellow"))
    for asked, by_platform in p.got.items():
        others = [f"{n} got {got}" for got, n in by_platform.items() if got != asked]
        if others:
            parts.append(Text(f"  of those for {asked}, {', '.join(others)}", "yellow"))
    parts += [Text(""), _metrics(p.metrics, detail.calm if detail and c.saturated else {})]
    if len(p.targets) > 1 or p.counts.failed:
        parts += [Text(""), _groups("target", p.targets)]
    if len(p.platforms) > 1:
        parts += [Text(""), _groups("platform", p.platforms)]
    if p.errors:
        errors = _table("error", "sessions", right=["sessions"])
        for kind, n in sorted(p.errors.items(), key=lambda kv: -kv[1]):
            _row(errors, kind, str(n))
        parts += [Text(""), errors]
    if detail and detail.thresholds:
        parts += [Text(""), threshold_table.with_values(detail.thresholds)]
    elif p.thresholds:
        parts += [Text(""), threshold_table.plain(p.thresholds)]
    return Group(*parts)


def _metrics(metrics: dict[str, Summary], calm: Mapping[str, Sketch]) -> Table:
    table = _table("metric", "p50", "p90", "p95", "p99", "max", right=["p50", "p90", "p95", "p99", "max"])
    for name, label in _METRICS.items():
        if m := metrics.get(name):
            show = (lambda v: f"{v:.3f}") if name == "cls" else milliseconds
            _row(table, label, *(show(v) for v in (m.p50, m.p90, m.p95, m.p99, m.max)))
            if sketch := calm.get(name):
                values = [*(sketch.quantile(q) or 0.0 for q in (0.5, 0.9, 0.95, 0.99)), sketch.max]
                _row(table, *(Text(c, "dim") for c in ("  without saturated", *map(show, values))))
    for name, label in (("bytes", "bytes"), ("requests", "requests")):
        if m := metrics.get(name):
            show = size if name == "bytes" else (lambda v: f"{v:.0f}")
            _row(table, label, *(show(v) for v in (m.p50, m.p90, m.p95, m.p99, m.max)))
    return table


def _groups(what: str, groups: dict[str, GroupSummary]) -> Table:
    numbers = ["sessions", "ok", "failed", "load p50", "load p95"]
    table = _table(what, *numbers, right=numbers)
    for name, g in groups.items():
        failed = Text(str(g.failed), "red" if g.failed else "")
        _row(
            table,
            name,
            str(g.planned),
            str(g.ok),
            failed,
            milliseconds(g.load_p50),
            milliseconds(g.load_p95),
        )
    return table


# --- lists -------------------------------------------------------------------------------------------------


def jobs(rows: Sequence[JobRow], now: float) -> Table:
    table = _table("id", "name", "state", "sessions", "failed", "submitted", right=["sessions", "failed"])
    for r in rows:
        state = coloured(r.verdict or r.state)
        if r.waiting_for and r.state != "finished":
            state.append(f" (waiting for {', '.join(r.waiting_for)})", "yellow")
        _row(table, r.id, r.name, state, f"{r.ended}/{r.planned}", str(r.failed), ago(r.submitted_at, now))
    return table


def job(view: JobView, detail: JobDetail | None = None) -> RenderableType:
    """`tb jobs show`. `detail` as in `summary`."""
    j: Job = view.job
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("id", j.id),
        ("state", coloured(j.state)),
        ("verdict", coloured(j.verdict) if j.verdict else "–"),
        ("submitted", clock_time(j.submitted_at)),
        ("started", clock_time(j.started_at)),
        ("ended", clock_time(j.ended_at)),
        ("vus", str(peak(j.spec.load))),
        ("priority", str(j.spec.priority)),
        ("seed", str(j.spec.seed)),
        ("waiting for", ", ".join(j.waiting_for) or "–"),
    ):
        _row(facts, Text(name, "dim"), value)
    return Group(facts, Text(""), summary(view.progress, detail))


def audit(view: AuditView) -> RenderableType:
    """`tb jobs audit`."""
    c = view.counts
    word = Text("agrees", "green") if view.agrees else Text("differs", "red")
    head = Text.assemble(f"{view.records} records of job {view.job}: what is told of it ", word)
    parts: list[RenderableType] = [
        head,
        Text(
            f"  {c.planned} sessions: {c.ok} ok, {c.failed} failed, {c.cancelled} cancelled, {c.lost} lost, "
            f"{c.dropped} dropped; {c.superseded} attempts superseded"
        ),
    ]
    faults = [f for f in view.findings if f.fault]
    if faults:
        table = _table("finding", "session", "sequence", "", right=["session", "sequence"])
        for f in faults[:50]:
            _row(table, f.kind, str(f.session or ""), str(f.seq or ""), f.text)
        parts += [Text(""), table]
        if len(faults) > 50:
            parts.append(Text(f"  and {len(faults) - 50} more; --json shows all"))
    return Group(*parts)


def sessions(rows: Sequence[SessionRow]) -> Table:
    right = ["#", "attempt", "http", "load", "duration"]
    table = _table(
        "#", "status", "attempt", "target", "platform", "http", "load", "duration", "", right=right
    )
    for r in rows:
        note = f"{r.error.kind}: {r.error.detail}" if r.error else ""
        _row(
            table,
            str(r.session),
            coloured(r.status),
            str(r.attempt),
            r.target,
            r.platform,
            str(r.measures.http_status or ""),
            milliseconds(r.measures.load),
            milliseconds(r.duration_ms),
            note if r.counted else f"superseded {note}".strip(),
        )
    return table
