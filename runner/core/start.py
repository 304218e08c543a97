"""When a session that has a time of its own starts. No clock.

Times are seconds since 1970. They are the conductor's, and the runner goes by its own clock: the clocks of
the machines must be in step (NTP), or sessions start too early, too late, or never.
"""

from __future__ import annotations

#: Sessions are sent a second or two ahead of their time. One that comes earlier than this says that the
#: clocks are not in step: it starts at once.
MOST_AHEAD = 10.0


def pause(start_at: float | None, late_limit: float, now: float) -> float | None:
    """Seconds to wait: 0 to start now. None where the time has passed by more than `late_limit`."""
    if start_at is None or start_at - now > MOST_AHEAD:
        return 0.0
    if now > start_at:
        return 0.0 if now - start_at <= late_limit else None
    return start_at - now


def error_ms(start_at: float | None, now: float) -> float | None:
    """How much too late it starts, ms; None where it has no time, or the clocks are not in step."""
    return None if start_at is None or now < start_at else 1000 * (now - start_at)
