"""Secrets as people see them."""

from __future__ import annotations

from collections.abc import Sequence

from broker_config.api import SecretView

from .table import Table, row, table
from .words import ago


def secrets(rows: Sequence[SecretView], now: float) -> Table:
    out = table("secret", "set", "by")
    for s in rows:
        row(out, s.name, ago(s.set_at, now), s.set_by or "–")
    return out
