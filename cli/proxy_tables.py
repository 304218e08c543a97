"""Pools of proxies as people see them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from broker_config.api import ProxyPoolRow, ProxyView

from .table import row, table
from .words import ago, milliseconds


def pools(rows: Sequence[ProxyPoolRow], now: float) -> Table:
    right = ["proxies", "enabled", "working", "failing"]
    out = table("pool", *right, "changed", right=right)
    for p in rows:
        counts = [str(n) for n in (p.proxies, p.enabled, p.working, p.failing)]
        row(out, p.name, *counts, ago(p.changed_at, now))
    return out


def proxies(rows: Sequence[ProxyView], now: float) -> Table:
    out = table("proxy", "enabled", "credentials", "last test", "took", "result", right=["took"])
    for p in rows:
        test = p.tested
        word = Text("enabled") if p.enabled else Text("disabled", "dim")
        cells: list[str | Text] = [p.proxy, word, "yes" if p.credentials else "–"]
        if test is None:
            cells += ["–", "–", "–"]
        else:
            result = Text("works" if test.ok else "fails", "green" if test.ok else "red")
            detail = f": {test.detail}" if test.detail else ""
            where = f"{ago(test.at, now)} from {test.runner}"
            cells += [where, milliseconds(test.ms), Text.assemble(result, detail)]
        row(out, *cells)
    return out
