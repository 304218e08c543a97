"""How many sessions a machine takes: slots from cores and memory, and no new one while it is saturated."""

from __future__ import annotations

MIB = 1 << 20

#: 4 to 8 sessions at once were best on 2 cores.
SLOTS_PER_CORE = 3
#: Half of the memory is for browsers; of it a browser takes 300 MiB, and each session twice what a dwelling
#: context was measured to hold.
BROWSER_BYTES = 300 * MIB
SESSION_BYTES = 64 * MIB
MAX_DEFAULT_SLOTS = 128


def default_slots(cores: int, memory_bytes: int) -> int:
    """Slots of a machine with so many cores and so much memory; at least 1."""
    by_memory = (memory_bytes // 2 - BROWSER_BYTES) // SESSION_BYTES
    return max(1, min(cores * SLOTS_PER_CORE, by_memory, MAX_DEFAULT_SLOTS))


class Saturation:
    """Mutable. Saturated after CPU use of at least `busy` (share of the whole machine, 0 to 1) for `during`
    seconds, until a sample falls below `calm`. `busy` above 1 turns it off."""

    def __init__(self, *, busy: float = 0.97, calm: float = 0.90, during: float = 2.0) -> None:
        self._busy = busy
        self._calm = min(calm, busy)
        self._during = during
        self._busy_since: float | None = None
        self._last: float | None = None
        self.saturated = False

    def sample(self, cpu: float, now: float) -> bool:
        """Take the CPU use since the last sample; returns whether the machine is saturated."""
        if self.saturated:
            self._last = now
            self.saturated = cpu >= self._calm
        if cpu < self._busy:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since >= self._during:
            self.saturated = True
            self._last = now
        return self.saturated

    def seen_since(self, then: float) -> bool:
        """True if the machine was saturated at some time from `then` on."""
        return self.saturated or (self._last is not None and self._last >= then)


def may_start(slot: int, running: int, saturated: bool) -> bool:
    """Whether this slot may take a session: while saturated only the first one, and only if nothing runs, so
    that one session always can."""
    return not saturated or (slot == 0 and running == 0)
