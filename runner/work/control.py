"""Orders: `runner.control.<runner>`, which are answered, and `job.control.*`."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn, Protocol

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.errors import MessageError, NameRefused
from broker_config.messages import ControlReply, JobControl, RunnerControl, quarantined
from broker_config.proxy_pool import ProxyTrial
from broker_config.subjects import JOB_CONTROLS, job_control, quarantine, runner_control

from .link import Link
from .running import Running

log = logging.getLogger(__name__)

#: Jobs that are remembered as cancelled: a session of theirs may be on its way.
REMEMBERED = 1_000


class Commands(Protocol):
    """What a runner can be told."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def drain(self) -> None: ...
    def restart(self) -> None: ...
    def reregister(self) -> None: ...
    def test_proxies(self, trial: ProxyTrial | None, reply: str) -> ControlReply | None: ...


class Control:
    """`run` listens until cancelled."""

    def __init__(
        self,
        link: Link,
        runner: str,
        running: Running,
        commands: Commands,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._link = link
        self._runner = runner
        self._clock = clock
        self._subject = runner_control(runner)
        self._running = running
        self._commands = commands
        self._cancelled: OrderedDict[str, None] = OrderedDict()

    def is_cancelled(self, job: str) -> bool:
        return job in self._cancelled

    async def run(self) -> NoReturn:
        subs = [
            await self._link.nc.subscribe(self._subject, cb=self._runner_order),
            await self._link.nc.subscribe(JOB_CONTROLS, cb=self._job_order),
        ]
        try:
            await asyncio.Event().wait()
        finally:
            if not self._link.nc.is_closed and not self._link.nc.is_draining:
                for sub in subs:
                    await sub.unsubscribe()
        raise AssertionError

    async def _runner_order(self, msg: Msg) -> None:
        try:
            order = codec.decode(msg.data, RunnerControl)
        except MessageError as e:
            await self._put_away(msg, e)
            reply = ControlReply(ok=False, detail=str(e))
        else:
            answer = self._obey(order, msg.reply)
            if answer is None:
                return
            reply = answer
            log.info("told to %s: %s", order.command, reply.detail or "done")
        if msg.reply:
            await self._link.send(msg.reply, codec.encode(reply))

    async def _put_away(self, msg: Msg, why: Exception) -> None:
        log.warning("an order on %s could not be used: %s", msg.subject, why)
        kept = quarantined(msg.subject, msg.data, str(why), at=self._clock(), by=self._runner)
        await self._link.send(quarantine("control"), codec.encode(kept))

    def _obey(self, order: RunnerControl, answer_to: str) -> ControlReply | None:
        """None where the answer comes later."""
        match order.command:
            case "pause":
                self._commands.pause()
            case "resume":
                self._commands.resume()
            case "drain":
                self._commands.drain()
            case "restart":
                self._commands.restart()
            case "reregister":
                self._commands.reregister()
            case "test_proxies":
                return self._commands.test_proxies(order.trial, answer_to)
            case "stop_session":
                runs = self._running.of(order.job, order.session)
                if not runs:
                    detail = f"session {order.session} of job {order.job!r} does not run here"
                    return ControlReply(ok=False, detail=detail)
                for run in runs:
                    run.end("cancelled")
        return ControlReply(ok=True)

    async def _job_order(self, msg: Msg) -> None:
        try:
            order = codec.decode(msg.data, JobControl)
            if msg.subject != job_control(order.job):
                raise MessageError(f"an order about job {order.job} came on {msg.subject}")
        except (MessageError, NameRefused) as e:
            await self._put_away(msg, e)
            return
        if order.command != "cancel":
            return
        self._cancelled[order.job] = None
        if len(self._cancelled) > REMEMBERED:
            self._cancelled.popitem(last=False)
        for run in self._running.of(order.job):
            run.end("cancelled")
