"""Orders: `runner.control.<runner>`, which are answered, and `job.control.*`."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.errors import MessageError, NameRefused
from broker_config.grant import SignedGrant
from broker_config.kill import Kill
from broker_config.log_limit import LogLimit
from broker_config.messages import ControlReply, JobControl, RunnerControl, quarantined
from broker_config.proxy_pool import ProxyTrial
from broker_config.subjects import (
    JOB_CONTROL_ALL,
    JOB_CONTROLS,
    is_inbox,
    job_control,
    quarantine,
    runner_control,
)

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
    def obey_kills(self, kills: Sequence[Kill]) -> None: ...
    def renew(self, job: str, grants: Sequence[SignedGrant]) -> None: ...


class Control:
    """`run` listens until cancelled. `named`: what cannot be used goes where only this runner may write."""

    def __init__(
        self,
        link: Link,
        runner: str,
        running: Running,
        commands: Commands,
        *,
        clock: Callable[[], float],
        named: bool = False,
    ) -> None:
        self._quarantine = quarantine("control", runner if named else None)
        self._link = link
        self._runner = runner
        self._clock = clock
        self._limit = LogLimit(clock)
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
        if is_inbox(msg.reply):
            await self._link.send(msg.reply, codec.encode(reply))

    async def _put_away(self, msg: Msg, why: Exception) -> None:
        left_out = self._limit.left_out("order")
        if left_out is None:
            # Others can make the broker's answers to them come here: no more than a nuisance.
            return
        more = f" ({left_out} more before it)" if left_out else ""
        log.warning("an order on %s could not be used: %s%s", msg.subject, why, more)
        kept = quarantined(msg.subject, msg.data, str(why), at=self._clock(), by=self._runner)
        await self._link.send(self._quarantine, codec.encode(kept))

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
            is_wide = order.kill is not None and order.kill.scope != "job"
            if msg.subject != (JOB_CONTROL_ALL if is_wide else job_control(order.job)):
                raise MessageError(f"an order about job {order.job} came on {msg.subject}")
            if order.kill is not None and order.kill.scope == "job" and order.kill.job != order.job:
                raise MessageError(f"an order about job {order.job} kills job {order.kill.job}")
        except (MessageError, NameRefused) as e:
            await self._put_away(msg, e)
            return
        if order.command == "kill" and order.kill is not None:
            self._commands.obey_kills([order.kill])
            return
        if order.command == "renew":
            self._commands.renew(order.job, order.grants)
            return
        if order.command != "cancel":
            return
        self._cancelled[order.job] = None
        if len(self._cancelled) > REMEMBERED:
            self._cancelled.popitem(last=False)
        for run in self._running.of(order.job):
            run.end("cancelled")
