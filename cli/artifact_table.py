"""The table of `tb artifacts list`. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence

from broker_config.api import ArtifactView
from broker_config.words import size

from .table import Table, row, table


def artifacts(rows: Sequence[ArtifactView], now: float) -> Table:
    names = ("session", "attempt", "kind", "size", "kept for", "name")
    out = table(*names, right=("session", "size"), spare=("attempt", "kept for", "session"))
    for a in rows:
        left = _left(a.expires_at - now) if a.expires_at is not None else "–"
        name = f"{a.session}.{a.attempt}/{a.file}"
        row(out, str(a.session), str(a.attempt), a.kind, size(a.bytes), left, name)
    return out


def _left(seconds: float) -> str:
    if seconds < 3600:
        return f"{max(0, seconds) / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"
