"""The dispatch window: which sessions to send next, so that runners never wait and queues stay short.

Fairness between jobs is deficit round-robin (Shreedhar and Varghese, SIGCOMM 1995): each job in turn earns a
quantum by its priority and sends as many sessions as it has earned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from broker_config.script import SCRIPTS, scripts_pool

#: Sessions dispatched for each slot online: one running, one ready when it ends.
WINDOW_PER_SLOT = 2


class Queue(Protocol):
    """What the window needs to know of a job's waiting sessions."""

    @property
    def id(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def room(self) -> int:
        """How many more the job's own cap (`vus`) lets out now."""
        ...

    def waiting(self, lane: str) -> int:
        """Sessions that wait for the lane."""
        ...


def quantum(priority: int) -> int:
    """Sessions a round: priority 0 earns 1, priority 9 earns 10."""
    return priority + 1


class Window:
    """Keeps the deficits between rounds. A *lane* is a platform, or a platform and a pool."""

    def __init__(self) -> None:
        self._deficits: dict[str, dict[str, float]] = {}
        self._turn: dict[str, str] = {}

    def fill(self, lane: str, free: int, queues: Sequence[Queue]) -> list[tuple[str, int]]:
        """Who sends how many of `free` places of the lane: `(job, sessions)` in order of sending."""
        deficits = self._deficits.setdefault(lane, {})
        can: dict[str, int] = {q.id: min(q.waiting(lane), q.room) for q in queues}
        for gone in deficits.keys() - {j for j, n in can.items() if n > 0}:
            del deficits[gone]
        # Whoever has the turn and cannot send passes it to the next in line, not to the first.
        order = [q for q in _from(self._turn.get(lane), queues) if can[q.id] > 0]
        sent: list[tuple[str, int]] = []
        while free > 0 and order:
            for q in list(order):
                if q.id not in deficits or deficits[q.id] < 1:
                    deficits[q.id] = deficits.get(q.id, 0) + quantum(q.priority)
                n = min(int(deficits[q.id]), can[q.id], free)
                if n > 0:
                    sent.append((q.id, n))
                    deficits[q.id] -= n
                    can[q.id] -= n
                    free -= n
                if can[q.id] == 0:
                    order.remove(q)
                    deficits.pop(q.id, None)
                if free == 0:
                    # Who has earned more goes on next time; else the turn passes.
                    unspent = deficits.get(q.id, 0) >= 1
                    self._turn[lane] = q.id if unspent else _after(q.id, [x.id for x in queues])
                    break
        return sent


def places(slots: int, dispatched: int) -> int:
    """Free places in a lane with `slots` online and `dispatched` sessions sent and not ended."""
    return max(0, slots * WINDOW_PER_SLOT - dispatched)


def lane_of(platform: str, pool: str | None) -> str:
    return f"{platform}.{pool}" if pool else platform


def shown(lane: str) -> str:
    """The lane as people read it."""
    platform, _, pool = lane.partition(".")
    if pool == SCRIPTS or pool.endswith(f"_{SCRIPTS}"):
        own = pool.removesuffix(SCRIPTS).removesuffix("_")
        return f"{lane_of(platform, own)} (with --allow-scripts)"
    return lane


def pools_of(pool: str | None, *, scripts: bool) -> list[str | None]:
    """The pools whose sessions a runner of `pool` takes."""
    return [pool, scripts_pool(pool)] if scripts else [pool]


def slots_by_lane(runners: Iterable[tuple[Sequence[str], str | None, int]]) -> Mapping[str, int]:
    """Slots online in each lane, from `(platforms, pool, slots)` of each online runner."""
    out: dict[str, int] = {}
    for platforms, pool, slots in runners:
        for p in platforms:
            lane = lane_of(p, pool)
            out[lane] = out.get(lane, 0) + slots
    return out


def _from(first: str | None, queues: Sequence[Queue]) -> list[Queue]:
    for i, q in enumerate(queues):
        if q.id == first:
            return [*queues[i:], *queues[:i]]
    return list(queues)


def _after(job: str, ids: list[str]) -> str:
    return ids[(ids.index(job) + 1) % len(ids)]
