"""What went wrong here: faults of sessions that are tried again, and messages that could not be read."""

from __future__ import annotations

from collections import OrderedDict

#: Sessions whose faults are remembered.
REMEMBERED = 2_000


class Faults:
    def __init__(self) -> None:
        #: Dispatched messages that could not be read, since the start.
        self.malformed = 0
        #: Of these, those that no orchestrator has signed, or too long ago.
        self.forged = 0
        self._kinds: OrderedDict[tuple[str, int], list[str]] = OrderedDict()

    def note(self, job: str, session: int, kind: str) -> None:
        self._kinds.setdefault((job, session), []).append(kind)
        if len(self._kinds) > REMEMBERED:
            self._kinds.popitem(last=False)

    def take(self, job: str, session: int) -> list[str]:
        """Kinds of the session's earlier faults; forgotten with that."""
        return self._kinds.pop((job, session), [])
