"""Sessions by target and platform, with the first failures of each: what no checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker_config.api import SessionRow

MAX_GROUPS = 500
MAX_FAILURES = 10
OTHERS = "(others)"


class SessionGroup(msgspec.Struct):
    """`failures` are the first few; `failed` counts lost sessions too; `seconds` is what they took in all."""

    target: str
    platform: str
    ok: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[str] = []


class ByGroup:
    """Takes the counted sessions one by one; its size does not depend on their number."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], SessionGroup] = {}

    def take(self, rows: Iterable[SessionRow]) -> None:
        for row in rows:
            if row.status not in ("ok", "failed", "lost"):
                continue
            group = self._group(row.target or OTHERS, row.asked or row.platform or OTHERS)
            group.seconds += row.duration_ms / 1000
            if row.status == "ok":
                group.ok += 1
                continue
            group.failed += 1
            if len(group.failures) < MAX_FAILURES:
                why = f"{row.error.kind}: {row.error.detail[:300]}" if row.error else row.status
                where = f" on {row.runner}" if row.runner else ""
                group.failures.append(f"session {row.session}, attempt {row.attempt}{where}: {why}")

    def groups(self) -> list[SessionGroup]:
        """By target, then platform."""
        return [self._groups[key] for key in sorted(self._groups)]

    def _group(self, target: str, platform: str) -> SessionGroup:
        key = (target, platform)
        if key not in self._groups and len(self._groups) >= MAX_GROUPS:
            key = (OTHERS, OTHERS)
        return self._groups.setdefault(key, SessionGroup(*key))
