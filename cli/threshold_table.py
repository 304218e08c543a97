"""Thresholds, as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from broker_config.duration import Duration
from broker_config.report import ReportThreshold

from .table import Table, row, table


def plain(thresholds: Mapping[str, bool | None]) -> Table:
    """Whether they hold."""
    out = table("threshold", "")
    for text, holds in thresholds.items():
        row(out, text, _word(holds))
    return out


def with_values(thresholds: Sequence[ReportThreshold]) -> Table:
    """With what each was, and whether it ends the job."""
    out = table("threshold", "was", "", "rule", right=["was"])
    for t in thresholds:
        word = Text("ended the job", "bold red") if t.ended_job else _word(t.holds)
        row(out, t.threshold, t.shown if t.actual is not None else "–", word, Text(_rule(t), "dim"))
    return out


def _word(holds: bool | None) -> Text:
    if holds is None:
        return Text("not measured", "red")
    return Text("holds", "green") if holds else Text("does not hold", "red")


def _rule(t: ReportThreshold) -> str:
    if not t.abort_on_fail:
        return ""
    window = f" over the last {Duration(t.window)}" if t.window is not None else ""
    return f"ends the job{window}" + (f", after {Duration(t.delay)}" if t.delay else "")
