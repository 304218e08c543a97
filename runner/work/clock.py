"""The runner's two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """`wall`: seconds since 1970, for messages. `lease`: seconds that only grow and count on while the
    machine is suspended, for leases."""

    wall: Callable[[], float]
    lease: Callable[[], float]


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def system_clock() -> Clock:
    return Clock(time.time, _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic)
