"""Does the clock of this machine go right?"""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime
from typing import NamedTuple

from .finding import Finding
from .program import output_of


class Reading(NamedTuple):
    """Both clocks at one moment, seconds."""

    wall: float
    monotonic: float


async def clock() -> Finding:
    """Whether the clock tells a sane time, runs evenly and is kept right by the network."""
    before = Reading(time.time(), time.monotonic())
    # A moment over which both clocks are compared; usually the question below is quicker.
    synchronised, _ = await asyncio.gather(_synchronised(), asyncio.sleep(0.25))
    return judge_clock(before, Reading(time.time(), time.monotonic()), synchronised)


def judge_clock(before: Reading, after: Reading, synchronised: bool | None) -> Finding:
    """`synchronised` is what the system says about network time; None where it does not say."""
    now = datetime.fromtimestamp(after.wall, UTC)
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    mend = "turn network time on (`timedatectl set-ntp true`, chrony or ntpd)"
    if not 2025 <= now.year <= 2100:
        return Finding("clock", "fail", f"{shown} cannot be right", f"set it, and {mend}")
    drift = (after.wall - before.wall) - (after.monotonic - before.monotonic)
    if abs(drift) > 0.05:
        why = f"it jumped by {drift * 1000:+.0f} ms while it was watched"
        return Finding("clock", "warn", f"{shown}; {why}", f"see what sets it, and {mend}")
    if synchronised is False:
        return Finding("clock", "warn", f"{shown}; not synchronised by network time", mend)
    kept = "synchronised" if synchronised else "even; the system does not tell about network time"
    return Finding("clock", "ok", f"{shown}, {kept}")


async def _synchronised() -> bool | None:
    if shutil.which("timedatectl") is None:
        return None
    try:
        async with asyncio.timeout(2):
            said = await output_of("timedatectl", "show", "--property=NTPSynchronized", "--value")
    except (OSError, TimeoutError):
        return None
    return {"yes": True, "no": False}.get(said.strip())
