"""Which lane takes a session: that of the platform that was asked for, or one to fall back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: A lane must have been without a slot for so long before another takes its place, s: a runner that starts
#: anew, or whose heartbeat this orchestrator has not heard yet, is no reason to change the platform.
FALL_BACK_AFTER = 2.5


class Lanes:
    """Slots online by lane, and since when a lane has had none. `began` is when one began to look."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.slots: Mapping[str, int] = {}
        self._served_at: dict[str, float] = {}

    def look(self, slots: Mapping[str, int], now: float) -> None:
        """What is online now."""
        for lane, n in self.slots.items():
            if n:
                self._served_at[lane] = now
        self.slots = slots

    def served(self, lane: str) -> bool:
        return self.slots.get(lane, 0) > 0

    def deserted(self, lane: str, now: float) -> bool:
        """True if the lane has had no slot for a while."""
        return not self.served(lane) and now - self._served_at.get(lane, self._began) >= FALL_BACK_AFTER

    def route(self, chain: Sequence[str], now: float) -> str | None:
        """The first lane of the chain that has slots; None while there is none. A lane is passed over only
        when it is deserted."""
        for lane in chain:
            if self.served(lane):
                return lane
            if not self.deserted(lane, now):
                return None
        return None
