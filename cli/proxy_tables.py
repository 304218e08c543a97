"""Pools of proxies as people see them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from broker_config.api import ProxyPoolRow, ProxyView
from broker_config.words import milliseconds

from .table import Table, line, row, table
from .words import ago


def pools(rows: Sequence[ProxyPoolRow], now: float) -> Table:
    right = ["proxies", "enabled", "working", "failing"]
    out = table("pool", *right, "changed", right=right)
    for p in rows:
        counts = [str(n) for n in (p.proxies, p.enabled, p.working, p.failing)]
        row(out, p.name, *counts, ago(p.changed_at, now))
    return out


def proxies(rows: Sequence[ProxyView], now: float) -> Table:
    names = ("proxy", "enabled", "credentials", "last test", "took", "result")
    out = table(
        *names, right=["took"], spare=["took", "credentials", "last test"], cut=["last test", "result"]
    )
    for p in rows:
        test = p.tested
        word = Text("enabled") if p.enabled else Text("disabled", "dim")
        cells: list[str | Text] = [p.proxy, word, "yes" if p.credentials else "–"]
        if test is None:
            cells += ["–", "–", "–"]
        else:
            result = Text("works" if test.ok else "fails", "green" if test.ok else "red")
            detail = f": {line(test.detail)}" if test.detail else ""
            where = f"{ago(test.at, now)} from {test.runner}"
            cells += [where, milliseconds(test.ms), Text.assemble(result, detail)]
        row(out, *cells)
    return out
