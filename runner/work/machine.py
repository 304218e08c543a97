"""What the machine and this process with its browsers use: CPU and memory, by psutil."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import psutil

#: Scanning the process tree costs CPU: it is done this often, s.
TREE_EVERY = 5.0
#: CPU use over less than this says nothing, s.
SHORTEST = 0.5


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu` of the whole machine from 0 to 1, `cpu_own` in cores; memory in bytes. `memory_own` is the sum of
    resident sizes: what processes share counts for each of them."""

    cpu: float = 0.0
    cpu_own: float = 0.0
    memory_used: int = 0
    memory_own: int = 0


class Machine:
    """`sample` once in a while; each covers the time since the one before."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._self = psutil.Process()
        self._tree_at = -TREE_EVERY
        self._tree_cpu: float | None = None
        self._own = (0.0, 0)
        self._cpu = 0.0
        self._cpu_at = clock()
        psutil.cpu_percent()

    async def sample(self) -> Usage:
        now = self._clock()
        if now - self._tree_at >= TREE_EVERY:
            cpu, memory = await asyncio.to_thread(self._tree)
            used = 0.0
            if self._tree_cpu is not None:
                # A process that ended unreaped takes its time with it.
                used = max(0.0, cpu - self._tree_cpu) / (now - self._tree_at)
            self._tree_at, self._tree_cpu, self._own = now, cpu, (used, memory)
        if now - self._cpu_at >= SHORTEST:
            self._cpu_at, self._cpu = now, psutil.cpu_percent() / 100
        return Usage(
            cpu=self._cpu,
            cpu_own=round(self._own[0], 3),
            memory_used=psutil.virtual_memory().used,
            memory_own=self._own[1],
        )

    def _tree(self) -> tuple[float, int]:
        """CPU seconds so far and memory of this process and all below it."""
        cpu, memory = 0.0, 0
        tree = [self._self]
        with contextlib.suppress(psutil.Error):
            tree += self._self.children(recursive=True)
        for process in tree:
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                # With those of children that have ended.
                cpu += times.user + times.system
                cpu += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                memory += process.memory_info().rss
        return cpu, memory
