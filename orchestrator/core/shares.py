"""Splitting a whole number into shares that sum to it exactly."""

from __future__ import annotations

from collections.abc import Sequence


def split(total: int, weights: Sequence[float]) -> list[int]:
    """Apportion `total` by `weights` with the method of the largest remainder (Hamilton).

    The parts sum to `total`; each differs from its exact share by less than 1; ties go to the earlier one.
    """
    whole = sum(weights)
    exact = [total * (w / whole) for w in weights]
    parts = [int(e) for e in exact]
    order = sorted(range(len(weights)), key=lambda i: (parts[i] - exact[i], i))
    left = total - sum(parts)
    for i in order[: max(0, left)]:
        parts[i] += 1
    # Float errors can push the sum of the floors past the total.
    for i in [i for i in reversed(order) if parts[i]][: max(0, -left)]:
        parts[i] -= 1
    return parts
