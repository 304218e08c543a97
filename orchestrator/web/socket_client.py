"""One WebSocket client: what it wants, and what is on its way to it.

While its connection takes what it is given, packets are written at once. While it does not, the `Outbox`
keeps only the newest of each state. Past a limit, or stalled for too long, the connection is cut.
"""

from __future__ import annotations

import asyncio

from broker_config.api import SocketProblem
from orchestrator.core.outbox import Outbox, SlowLimits

from .frame_writer import FrameWriter
from .packet import Packet


class SocketClient:
    """`cut` says in words why the connection was cut, or is empty."""

    __slots__ = ("_behind", "_limits", "_outbox", "_stall_check", "_writer", "cut", "jobs")

    def __init__(self, writer: FrameWriter, limits: SlowLimits) -> None:
        self.jobs: set[str] = set()
        self.cut = ""
        #: Something waits in the outbox, or nothing is sent any more.
        self._behind = False
        self._writer = writer
        self._limits = limits
        self._outbox: Outbox[Packet] = Outbox()
        self._stall_check: asyncio.TimerHandle | None = None
        writer.on_drain = self._drain

    def answer(self, packet: Packet, replaces: str = "") -> None:
        """Send in order, whatever happens; a state waiting under the key `replaces` is out of date."""
        if not (self._behind or self._writer.paused):
            self._writer.write(packet)
        elif not self.cut:
            self._outbox.forget(replaces)
            self._outbox.answer(packet)
            self._waits()

    def state(self, key: str, packet: Packet) -> None:
        """Send now, or let it wait as the newest under `key`."""
        if not (self._behind or self._writer.paused):
            self._writer.write(packet)
        elif not self.cut:
            self._outbox.state(key, packet)
            self._waits()

    def log(self, job: str, packet: Packet) -> None:
        """Send now or never."""
        if not (self._behind or self._writer.paused):
            self._writer.write(packet)
        elif not self.cut:
            self._outbox.leave_out(job)

    def forget(self, key: str) -> None:
        """What waits under `key` is not wanted any more."""
        self._outbox.forget(key)

    def close(self) -> None:
        """The connection is gone."""
        self._writer.on_drain = None
        self._stop_check()

    def _drain(self) -> None:
        if self.cut:
            return
        while self._outbox and not self._writer.paused:
            self._writer.write(self._outbox.take())
        if self._writer.paused:
            return
        self._behind = False
        self._stop_check()
        for job, count in self._outbox.take_left_out().items():
            words = f"{count} log lines were left out: this connection reads too slowly"
            self.answer(Packet(SocketProblem(detail=words, job=job)))

    def _waits(self) -> None:
        self._behind = True
        buffered = self._writer.buffered
        if buffered + self._outbox.size > self._limits.overflow:
            self._cut(f"more than {self._limits.overflow} bytes wait for it")
        elif self._stall_check is None:
            self._check_later(buffered)

    def _check_later(self, buffered: int) -> None:
        loop = asyncio.get_running_loop()
        self._stall_check = loop.call_later(self._limits.stall, self._check, buffered)

    def _check(self, before: int) -> None:
        self._stall_check = None
        if not self._outbox:
            return
        buffered = self._writer.buffered
        if buffered >= before:
            self._cut(f"it has read nothing for {self._limits.stall:g} s")
        else:
            self._check_later(buffered)

    def _stop_check(self) -> None:
        if self._stall_check is not None:
            self._stall_check.cancel()
            self._stall_check = None

    def _cut(self, why: str) -> None:
        if not self.cut:
            self.cut = why
            self._behind = True
            self._stop_check()
            self._writer.abort()
            self._outbox = Outbox()
