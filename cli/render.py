"""What people see: tables and lines from the API's types. Pure: no I/O, the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from broker_config.api import AuditView, JobDetail, JobRow, JobView, SessionRow
from broker_config.job import Job
from broker_config.load import peak
from broker_config.messages import JobProgress
from broker_config.words import milliseconds

from .job_summary import summary
from .table import Table, line
from .table import row as _row
from .table import table as _table
from .words import ago, clock_time, coloured

#: Characters of a job's name beside its state and id.
_NAME = 48


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
    name = p.name if len(p.name) <= _NAME else p.name[: _NAME - 1] + "…"
    head = Text.assemble((name, "bold"), "  ", coloured(p.state), f"  {p.job}", style="")
    bar = Grid.grid(padding=(0, 1))
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


# --- lists -------------------------------------------------------------------------------------------------


def jobs(rows: Sequence[JobRow], now: float) -> Table:
    names = ("id", "name", "state", "sessions", "failed", "submitted")
    right = ["sessions", "failed"]
    table = _table(*names, right=right, spare=["failed"], cut=["name", "state"])
    for r in rows:
        state = coloured(r.verdict or r.state)
        if r.waiting_for and r.state != "finished":
            state.append(f" (waiting for {', '.join(r.waiting_for)})", "yellow")
        _row(
            table,
            r.id,
            line(r.name),
            state,
            f"{r.ended}/{r.planned}",
            str(r.failed),
            ago(r.submitted_at, now),
        )
    return table


def job(view: JobView, detail: JobDetail | None = None) -> RenderableType:
    """`tb jobs show`. `detail` as in `summary`."""
    j: Job = view.job
    facts = Grid.grid(padding=(0, 2))
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
        table = _table("finding", "session", "sequence", "what", right=["session", "sequence"])
        for f in faults[:50]:
            _row(table, f.kind, str(f.session or ""), str(f.seq or ""), f.text)
        parts += [Text(""), table]
        if len(faults) > 50:
            parts.append(Text(f"  and {len(faults) - 50} more; --json shows all"))
    return Group(*parts)


def sessions(rows: Sequence[SessionRow]) -> Table:
    names = ("#", "status", "attempt", "target", "platform", "http", "load", "duration", "note")
    right = ("#", "attempt", "http", "load", "duration")
    table = _table(
        *names, right=right, spare=["attempt", "http", "duration", "platform"], cut=["target", "note"]
    )
    for r in rows:
        note = line(f"{r.error.kind}: {r.error.detail}") if r.error else ""
        _row(
            table,
            str(r.session),
            coloured(r.status),
            str(r.attempt),
            line(r.target),
            r.platform,
            str(r.measures.http_status or ""),
            milliseconds(r.measures.load),
            milliseconds(r.duration_ms),
            note if r.counted else f"superseded {note}".strip(),
        )
    return table
