"""How a job stands or has ended. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from broker_config.api import JobDetail
from broker_config.job import ErrorExample, StepCell
from broker_config.messages import GroupSummary, JobProgress, Summary
from broker_config.sketch import Sketch
from broker_config.words import METRICS, milliseconds, of_metric

from . import threshold_table
from .table import Table, line
from .table import row as _row
from .table import table as _table
from .words import STATE_COLOURS

#: Rows that a table of groups, errors or proxies shows; the rest is counted.
_MOST = 20
_UNSHOWN = ("failed_requests", "console_errors")


def summary(
    p: JobProgress, detail: JobDetail | None = None, fallen: Mapping[str, str] | None = None
) -> RenderableType:
    """How a job stands or has ended: verdict, counts, metrics, groups, errors, thresholds.

    `detail` adds steps, first examples of errors, proxies, the metrics without saturated sessions, and what
    thresholds were compared with. `fallen` are the proxies that failed while it was watched, with reasons.
    """
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
    if p.metrics:
        parts += [Text(""), _metrics(p.metrics, detail.calm if detail and c.saturated else {})]
    if detail and detail.steps:
        parts += [Text(""), _steps(detail.steps)]
    if len(p.targets) > 1 or p.counts.failed:
        parts += [Text(""), _groups("target", p.targets)]
    if len(p.platforms) > 1:
        parts += [Text(""), _groups("platform", p.platforms)]
    if p.errors:
        parts += [Text(""), _errors(p.errors, detail.examples if detail else {})]
    if fallen or (detail and set(detail.upstreams) - {"direct"}):
        parts += [Text(""), _proxies(detail.upstreams if detail else {}, fallen or {})]
    if detail and detail.thresholds:
        parts += [Text(""), threshold_table.with_values(detail.thresholds)]
    elif p.thresholds:
        parts += [Text(""), threshold_table.plain(p.thresholds)]
    return Group(*parts)


def _metrics(metrics: dict[str, Summary], calm: Mapping[str, Sketch]) -> Table:
    right = ["p50", "p90", "p95", "p99", "max"]
    table = _table("metric", *right, right=right)
    for name, label in METRICS.items():
        if name not in _UNSHOWN and (m := metrics.get(name)):
            values = (m.p50, m.p90, m.p95, m.p99, m.max)
            label = label if label[1].isupper() else label[0].lower() + label[1:]
            _row(table, label, *(of_metric(name, v) for v in values))
            if sketch := calm.get(name):
                others = [*(sketch.quantile(q) or 0.0 for q in (0.5, 0.9, 0.95, 0.99)), sketch.max]
                cells = ("  without saturated", *(of_metric(name, v) for v in others))
                _row(table, *(Text(c, "dim") for c in cells))
    return table


def _steps(steps: Mapping[str, StepCell]) -> Table:
    right = ["times", "failed", "p50", "p95"]
    table = _table("step", *right, right=right, cut=["step"])
    for name, s in list(steps.items())[:_MOST]:
        failed = Text(str(s.failed), "red" if s.failed else "")
        times = [milliseconds(s.time.quantile(q)) for q in (0.5, 0.95)]
        _row(table, line(name), str(s.ok + s.failed), failed, *times)
    _more(table, len(steps), 4)
    return table


def _groups(what: str, groups: dict[str, GroupSummary]) -> Table:
    numbers = ["sessions", "ok", "failed", "load p50", "load p95"]
    table = _table(what, *numbers, right=numbers, cut=[what])
    for name, g in groups.items():
        failed = Text(str(g.failed), "red" if g.failed else "")
        times = [milliseconds(g.load_p50), milliseconds(g.load_p95)]
        _row(table, line(name), str(g.planned), str(g.ok), failed, *times)
    return table


def _errors(errors: Mapping[str, int], examples: Mapping[str, Sequence[ErrorExample]]) -> Table:
    table = _table("error", "sessions", "the first of them", right=["sessions"])
    for kind, n in sorted(errors.items(), key=lambda kv: -kv[1])[:_MOST]:
        first = next(iter(examples.get(kind, ())), None)
        # A failed egress names its proxies: that is what one looks for.
        _row(table, kind, str(n), line(f"session {first.session}: {first.detail}") if first else "")
    _more(table, len(errors), 2)
    return table


def _proxies(used: Mapping[str, int], fallen: Mapping[str, str]) -> Table:
    table = _table(
        "proxy", "sessions", "failed while watched", right=["sessions"], cut=["failed while watched"]
    )
    names = [*fallen, *(name for name in used if name not in fallen)]
    for name in names[:_MOST]:
        _row(table, name, str(used.get(name, 0)), Text(line(fallen.get(name, "")), "red"))
    _more(table, len(names), 2)
    return table


def _more(table: Table, found: int, others: int) -> None:
    if found > _MOST:
        _row(table, Text(f"and {found - _MOST} more", "dim"), *[""] * others)
