"""Claimed statistics of one metric against all of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from broker_config.messages import Summary

from .report import Findings, Kind

#: The wire format of a sketch: bucket `i` holds values in (GAMMA**(i-1), GAMMA**i], but for the outermost.
ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
SMALLEST, LARGEST = 1e-4, 1e12
LOWEST, HIGHEST = (math.ceil(math.log(v) / math.log(GAMMA)) for v in (SMALLEST, LARGEST))
#: What floats may differ by when they were added in another order, and at the edge of a bucket.
ROUNDING = 1e-9
PERCENTILES = (("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))


def close(a: float, b: float) -> bool:
    """Equal, but for rounding."""
    return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)


def at_quantile(own: Sequence[float], q: float) -> float:
    """The exact value at a quantile of sorted values, of which there is at least one."""
    return own[int(q * (len(own) - 1))]


def compare(claimed: float, own: float, where: str, findings: Findings, kind: Kind = "totals") -> None:
    if claimed != own:
        findings.add(kind, f"{where} is {claimed:.15g}; the records have {own:.15g}")


def check_quantile(claimed: float, own: Sequence[float], q: float, where: str, findings: Findings) -> None:
    exact = at_quantile(own, q)
    within = abs(claimed - exact) <= abs(exact) * (ACCURACY + 1e-6) + SMALLEST
    if not within and exact < LARGEST:
        findings.add("quantile", f"{where} is {claimed:.6g}; the records have {exact:.6g}")


def check_buckets(buckets: Mapping[int, int], own: Sequence[float], where: str, findings: Findings) -> None:
    """Each bucket holds as many of the sorted values as it says."""
    held = sum(buckets.values())
    if held != len(own):
        findings.add("metric", f"{where}: {held} in its buckets; the records have {len(own)}")
        return
    begin = 0
    for index in sorted(buckets):
        end = begin + buckets[index]
        low, high = GAMMA ** (index - 1), GAMMA**index
        sound = begin < end <= len(own) and LOWEST <= index <= HIGHEST
        if sound and high > SMALLEST * GAMMA:
            sound = own[begin] > low * (1 - ROUNDING)
        if sound and high < LARGEST:
            sound = own[end - 1] <= high * (1 + ROUNDING)
        if not sound:
            findings.add(
                "metric",
                f"{where}: bucket {index} ({low:.6g} to {high:.6g}) does not hold {buckets[index]} values",
            )
            return
        begin = end


class Sketched(Protocol):
    """A sketch, as the auditor reads it."""

    count: int
    sum: float
    min: float
    max: float
    buckets: dict[int, int]

    def quantile(self, q: float) -> float | None: ...


def check_sketch(claimed: Sketched | None, own: Sequence[float], where: str, findings: Findings) -> None:
    """Every number of a sketch against the sorted values."""
    compare(claimed.count if claimed else 0, len(own), f"{where}: count", findings, "metric")
    if claimed is None or not claimed.count or not own:
        return
    compare(claimed.min, own[0], f"{where}: min", findings, "metric")
    compare(claimed.max, own[-1], f"{where}: max", findings, "metric")
    total = math.fsum(own)
    if not close(claimed.sum, total):
        findings.add("metric", f"{where}: sum is {claimed.sum!r}; the records have {total!r}")
    check_buckets(claimed.buckets, own, where, findings)
    for name, q in PERCENTILES:
        check_quantile(claimed.quantile(q) or 0.0, own, q, f"{where}: {name}", findings)


def check_summary(claimed: Summary | None, own: Sequence[float], where: str, findings: Findings) -> None:
    compare(claimed.count if claimed else 0, len(own), f"{where}: count", findings, "metric")
    if claimed is None or not own:
        return
    compare(claimed.min, own[0], f"{where}: min", findings, "metric")
    compare(claimed.max, own[-1], f"{where}: max", findings, "metric")
    mean = math.fsum(own) / len(own)
    if not close(claimed.mean, mean):
        findings.add("metric", f"{where}: mean is {claimed.mean!r}; the records have {mean!r}")
    for name, q in PERCENTILES:
        check_quantile(getattr(claimed, name), own, q, f"{where}: {name}", findings)
