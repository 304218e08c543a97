"""Whether a threshold that has ended its job can have been broken at some moment on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable

from broker_config.threshold import Threshold, ThresholdRule, parse

from .metric import ACCURACY, ROUNDING, SMALLEST

_COUNTS = ("ok", "failed", "lost", "cancelled", "dropped")
#: As the window is documented: tenths, aligned to the time since 1970.
_PARTS = 10
#: A sketch may differ by so much from the records.
_DOUBT = 1.1 * ACCURACY


class _Part:
    """Sessions that ended within a tenth of the window, or all where there is none."""

    def __init__(self) -> None:
        self.by_status = dict.fromkeys(_COUNTS, 0)
        self.sessions = 0
        self.values = 0
        self.sum = 0.0
        self.min, self.max = math.inf, -math.inf
        #: Values surely below the limit, and those that may be at most the limit.
        self.below = self.at_most = 0


class EarlyEnd:
    """Takes the counted sessions in stream order; `could` is True once the rule can have been broken."""

    def __init__(self, rule: ThresholdRule) -> None:
        self.could = False
        self.threshold: Threshold = parse(rule.threshold)
        self._width = rule.window / _PARTS if rule.window is not None else None
        self._parts: dict[int, _Part] = {}
        self._now = 0

    def take(
        self,
        at: float,
        status: str,
        target: str,
        platform: str,
        values: dict[str, float],
        steps: Iterable[tuple[str, float, bool]],
    ) -> None:
        t = self.threshold
        if self._width is not None:
            self._advance(math.floor(at / self._width))
        if self.could or t.value != {"target": target, "platform": platform}.get(t.group, ""):
            return
        part = self._parts.setdefault(self._now, _Part())
        part.sessions += 1
        if status in part.by_status:
            part.by_status[status] += 1
        if status in ("ok", "failed"):
            if t.step:
                seen = [ms for name, ms, good in steps if good and name[:64] == t.step]
            else:
                seen = [values[t.metric]] if t.metric in values else []
            for value in seen:
                self._enter(part, value)
        self._look()

    def end(self) -> None:
        """No session ended after the last one; the window went on."""
        self._advance(self._now + _PARTS)

    def _enter(self, part: _Part, value: float) -> None:
        limit = self.threshold.limit
        part.values += 1
        part.sum += value
        part.min, part.max = min(part.min, value), max(part.max, value)
        part.below += value < limit / (1 + _DOUBT) - SMALLEST
        part.at_most += value <= limit / (1 - _DOUBT) + SMALLEST

    def _advance(self, number: int) -> None:
        """Go on to that tenth, looking at each one on the way: what leaves the window changes it too."""
        while self._now < number and self._parts and not self.could:
            self._now += 1
            self._parts.pop(self._now - _PARTS, None)
            self._look()
        self._now = max(self._now, number)

    def _look(self) -> None:
        parts = list(self._parts.values())
        if sum(p.sessions for p in parts):
            self.could = self.could or self._broken(parts)

    def _broken(self, parts: list[_Part]) -> bool:
        t = self.threshold
        by_status = {s: sum(p.by_status[s] for p in parts) for s in _COUNTS}
        n = sum(p.values for p in parts)
        if t.metric in ("error_rate", "ok_rate"):
            bad = by_status["failed"] + by_status["lost"]
            ran = by_status["ok"] + bad
            return bool(ran) and not t.holds((bad if t.metric == "error_rate" else by_status["ok"]) / ran)
        if not t.aggregate or t.aggregate == "count":
            count = float(n if t.aggregate else by_status[t.metric])
            # A number that only grows is too large for good, but never too small for good.
            may_come = self._width is None and t.operator in (">", ">=", "==") and count <= t.limit
            return not may_come and not t.holds(count)
        if not n:
            return False
        match t.aggregate:
            case "min":
                return not t.holds(min(p.min for p in parts))
            case "max":
                return not t.holds(max(p.max for p in parts))
            case "mean":
                mean = sum(p.sum for p in parts) / n
                near = abs(mean - t.limit) <= ROUNDING * max(abs(mean), abs(t.limit))
                return near or not t.holds(mean)
        rank = int(t.quantile * (n - 1))
        if t.operator in ("<", "<="):
            return sum(p.below for p in parts) <= rank
        return t.operator == "==" or sum(p.at_most for p in parts) > rank
