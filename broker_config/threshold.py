"""Thresholds: `load.p95 < 2500ms`, `error_rate < 1%`, `lcp.p75{target=home} < 2.5s`, `step["pay"].p90 < 4s`.

    expression = metric [ "." aggregate ] [ "{" key "=" value "}" ] operator number [ unit ]
               | "step[" name in quotes "]" "." aggregate operator number [ unit ]

A metric is one of `METRICS` with an aggregate, or one of `RATES` or `COUNTS` without. Times are compared in
ms, sizes in bytes, rates as fractions of 1. Of a step, the times of those count that succeeded.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta

from .duration import Duration

#: `start_error`: how much after its time a session of an open model started.
TIMES = ("ttfb", "dcl", "load", "fcp", "lcp", "inp", "duration", "start_error")
SIZES = ("bytes",)
PLAIN = ("cls", "requests", "failed_requests", "console_errors")
METRICS = (*TIMES, *SIZES, *PLAIN)
#: Share of sessions that ran: failed or lost of all that ended ok, failed or lost; and its complement.
RATES = ("error_rate", "ok_rate")
STEP = "step"
COUNTS = ("ok", "failed", "lost", "cancelled", "dropped")
AGGREGATES = "min, max, mean, count, or p and a number from 0 to 100 such as p95"

Operator = Literal["<", "<=", ">", ">=", "=="]
Group = Literal["target", "platform", ""]
Aggregate = Literal["min", "max", "mean", "count", "quantile", ""]

#: Of a threshold, s.
SHORTEST_WINDOW = 1.0

_UNITS: dict[str, dict[str, float]] = {
    "time": {"": 1, "ms": 1, "s": 1000, "m": 60_000},
    "size": {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "KiB": 1024, "MiB": 1024**2},
    "rate": {"": 1, "%": 0.01},
    "plain": {"": 1},
}
_EXPRESSION = re.compile(
    r"""\s*(?:step\[(?P<quote>["'])(?P<step>.+?)(?P=quote)\]|(?P<metric>[a-z_]+))(?:\.(?P<agg>[a-z0-9.]+))?
        \s*(?:\{\s*(?P<key>[a-z]+)\s*=\s*(?P<value>[^{}]+?)\s*\})?
        \s*(?P<op><=|>=|==|<|>)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z%]*)\s*""",
    re.VERBOSE,
)


class ThresholdRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A threshold of a spec that can end its job early."""

    #: The expression.
    threshold: Annotated[str, Meta(max_length=200)]
    #: End the job as soon as the threshold does not hold. Its verdict is `failed` then.
    abort_on_fail: bool = False
    #: Not before the job has run for so long.
    delay: Duration = msgspec.field(default_factory=lambda: Duration(0))
    #: Look at the sessions that ended within the last so many seconds only, over the whole fleet; left out:
    #: at all. The verdict at the end is always of all.
    window: Duration | None = None

    @property
    def problem(self) -> str:
        """What is wrong with it, but for the expression; empty if nothing is."""
        if not self.abort_on_fail and (self.window is not None or self.delay):
            return "delay and window are for thresholds that end the job; add abort_on_fail: true"
        if self.window is not None and self.window < SHORTEST_WINDOW:
            return f"a window of {self.window} is too short; use {SHORTEST_WINDOW:g}s or more"
        return ""


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed expression. `quantile` is set where `aggregate` is `quantile`; `group` is the filter."""

    text: str
    metric: str
    operator: Operator
    limit: float
    aggregate: Aggregate = ""
    quantile: float = 0.0
    group: Group = ""
    value: str = ""
    #: Name of a step; `metric` is `step` then.
    step: str = ""

    def holds(self, actual: float) -> bool:
        match self.operator:
            case "<":
                return actual < self.limit
            case "<=":
                return actual <= self.limit
            case ">":
                return actual > self.limit
            case ">=":
                return actual >= self.limit
            case "==":
                return actual == self.limit


def parse(text: str) -> Threshold:
    """Read an expression; `ValueError` says what is wrong with it and what is allowed."""
    m = _EXPRESSION.fullmatch(text)
    if not m:
        raise ValueError(f"{text!r} is not a threshold; write it like load.p95 < 2500ms or error_rate < 1%")
    metric, agg, unit = m["metric"] or STEP, m["agg"], m["unit"]
    if metric == STEP and not m["step"]:
        raise ValueError(f'{text!r} does not say which step; write it like step["pay"].p90 < 4s')
    kind = "time" if m["step"] else _kind(metric, text)
    aggregate: Aggregate = ""
    quantile = 0.0
    if metric in METRICS or m["step"]:
        if agg in ("min", "max", "mean", "count"):
            aggregate = cast(Aggregate, agg)
        elif agg and re.fullmatch(r"p\d+(\.\d+)?", agg) and float(agg[1:]) <= 100:
            aggregate, quantile = "quantile", float(agg[1:]) / 100
        else:
            raise ValueError(f"{text!r} needs an aggregate after {metric}: {AGGREGATES}")
        if aggregate == "count":
            kind = "plain"
    elif agg:
        raise ValueError(f"{text!r}: {metric} takes no aggregate (.{agg})")
    if unit not in _UNITS[kind]:
        allowed = ", ".join(u for u in _UNITS[kind] if u) or "none"
        raise ValueError(f"{text!r}: the unit {unit!r} does not fit {metric}; allowed: {allowed}")
    if m["key"] not in (None, "target", "platform"):
        raise ValueError(f"{text!r}: {{{m['key']}=…}} is no filter; use target or platform")
    if m["step"] and m["key"]:
        raise ValueError(f"{text!r}: a step takes no filter ({{{m['key']}=…}})")
    return Threshold(
        text=text,
        metric=metric,
        operator=cast(Operator, m["op"]),
        # In decimals: 35 * 0.01 as floats is more than 0.35.
        limit=float(Decimal(m["number"]) * Decimal(str(_UNITS[kind][unit]))),
        aggregate=aggregate,
        quantile=quantile,
        group=cast(Group, m["key"] or ""),
        value=(m["value"] or "").strip("\"'"),
        step=m["step"] or "",
    )


def _kind(metric: str, text: str) -> str:
    if metric in TIMES:
        return "time"
    if metric in SIZES:
        return "size"
    if metric in RATES:
        return "rate"
    if metric in PLAIN or metric in COUNTS:
        return "plain"
    raise ValueError(f"{text!r}: there is no metric {metric!r}; use {', '.join((*METRICS, *RATES, *COUNTS))}")
