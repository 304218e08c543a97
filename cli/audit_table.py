"""Entries of the audit log as people see them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from broker_config.messages import AuditEntry

from .table import Table, line, row, table
from .words import clock_time

_COLOURS = {"ok": "green", "refused": "yellow", "failed": "red"}


def entries(rows: Sequence[AuditEntry]) -> Table:
    """In the order in which they come. 80 columns are enough, whatever stands in them."""
    out = table(
        *("no.", "when", "who", "from", "what", "result"),
        right=["no."],
        spare=["from", "no."],
        cut=["who", "what", "result"],
    )
    for e in rows:
        row(out, str(e.number), _short(e.at), who(e), e.address, _what(e), result(e))
    return out


def one_line(e: AuditEntry) -> str:
    """For those that come one by one."""
    return f"{clock_time(e.at)} {who(e)} {_what(e)}: {result(e).plain}"


def who(e: AuditEntry) -> str:
    """Name and kind; a name that says it by itself stands alone."""
    if not e.actor or e.actor == e.kind:
        return e.kind or "–"
    return e.actor if e.kind in ("", "user") else f"{e.actor} ({e.kind})"


def result(e: AuditEntry) -> Text:
    times = f" {e.times}×" if e.times > 1 else ""
    detail = f": {line(e.detail)}" if e.detail else ""
    return Text.assemble(Text(e.result, _COLOURS.get(e.result, "")), times, detail)


def _what(e: AuditEntry) -> str:
    return f"{e.action} {e.object}" if e.object else e.action


def _short(at: float) -> str:
    """Of this year, to the minute; --json has all of it."""
    return clock_time(at)[5:16]
