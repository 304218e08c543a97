"""Targets as people see them."""

from __future__ import annotations

from collections.abc import Sequence

from broker_config.target_proof import TargetView

from .table import Table, row, table
from .words import ago


def targets(rows: Sequence[TargetView], now: float) -> Table:
    columns = ("origin", "state", "by", "proved", "grant", "ceilings", "found")
    out = table(*columns, spare=("by",), cut=("found",))
    for t in rows:
        row(
            out,
            t.origin,
            t.state,
            t.method or "–",
            ago(t.verified_at, now) if t.verified_at else "–",
            "–" if t.grant is None else "without proof" if t.grant.without_proof else "private",
            ceilings(t) or "–",
            t.detail or "–",
        )
    return out


def ceilings(target: TargetView) -> str:
    """In words; empty where there are none."""
    found = []
    if target.sessions is not None:
        found.append(f"{target.sessions} at once")
    if target.rate is not None:
        found.append(f"{target.rate:g}/s")
    return ", ".join(found)
