"""For tests of the runner: what it needs of an orchestrator, in a few lines of NATS."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec, connection
from broker_config.envelope import enclose
from broker_config.errors import MessageError
from broker_config.messages import (
    SEALED,
    ControlReply,
    Dispatch,
    Heartbeat,
    JobControl,
    JobLog,
    Refusal,
    RegisterReply,
    RegisterRequest,
    RunnerControl,
    RunnerSettings,
    SecretBundle,
    SecretReply,
    SecretRequest,
    SessionRecord,
)
from broker_config.provisioning import ensure_dispatch_consumer, provision
from broker_config.proxy_pool import ProxyPool
from broker_config.subjects import (
    JOB_LOGS,
    RUNNER_HEARTBEATS,
    RUNNER_REGISTER,
    RUNNER_SECRET,
    job_control,
    job_dispatch,
    runner_control,
)
from tests.support.waiting import eventually


class FrontDesk:
    """Registers runners, dispatches sessions and reads their records. Lists grow as messages come."""

    def __init__(self, nc: Client, *, lease: float, platforms: Sequence[str]) -> None:
        self.nc = nc
        self.js = nc.jetstream()
        self.lease = lease
        self.platforms = platforms
        self.refusals: list[Refusal] = []
        self.registrations: list[RegisterRequest] = []
        self.heartbeats: list[Heartbeat] = []
        self.logs: list[JobLog] = []
        self.secrets: dict[str, str] = {}
        #: Says nothing to those who ask for secrets.
        self.silent = False
        self.asked: list[SecretRequest] = []
        self.pools: dict[str, tuple[ProxyPool, int]] = {}
        self.egress: dict[str, str] = {}
        self.revision = 0

    async def open(self) -> None:
        await provision(self.nc)
        for platform in self.platforms:
            await ensure_dispatch_consumer(self.nc, platform, lease=self.lease)
        await self.nc.subscribe(RUNNER_REGISTER, cb=self._register)
        await self.nc.subscribe(RUNNER_HEARTBEATS, cb=self._heartbeat)
        await self.nc.subscribe(JOB_LOGS, cb=self._log)
        await self.nc.subscribe(RUNNER_SECRET, cb=self._secret)

    async def _register(self, msg: Msg) -> None:
        request = codec.decode(msg.data, RegisterRequest)
        self.registrations.append(request)
        if self.refusals:
            reply = RegisterReply(runner=request.runner, refusal=self.refusals.pop(0))
        else:
            offers = {
                offer.platform: await ensure_dispatch_consumer(self.nc, offer.platform, lease=self.lease)
                for offer in request.platforms
            }
            settings = RunnerSettings(heartbeat_s=0.2, lease_s=self.lease, consumers=offers)
            reply = RegisterReply(runner=request.runner, settings=settings)
        await msg.respond(codec.encode(reply))

    async def _secret(self, msg: Msg) -> None:
        """From `secrets` and `pools`: as an orchestrator does, but for anybody who asks."""
        if self.silent:
            return
        ask = codec.decode(msg.data, SecretRequest)
        self.asked.append(ask)
        if ask.want == "secrets":
            bundle = SecretBundle(job=ask.job, secrets=self.secrets)
        else:
            key = self.egress.get(ask.job, f"job.{ask.job}") if ask.want == "proxies" else ask.ticket.decode()
            if key not in self.pools:
                await msg.respond(codec.encode(SecretReply(refusal="missing")))
                return
            pool, revision = self.pools[key]
            bundle = SecretBundle(
                job=ask.job, pool=pool if ask.known != revision else None, revision=revision
            )
        await self.nc.publish(msg.reply, enclose(codec.encode(bundle), ask.key), headers={SEALED: "1"})

    def keep(self, key: str, pool: ProxyPool | None) -> None:
        """The pool `pool.<name>` or `job.<id>`, or none under that key."""
        self.revision += 1
        if pool is None:
            self.pools.pop(key, None)
        else:
            enabled = msgspec.structs.replace(pool, proxies=pool.enabled)
            self.pools[key] = (enabled, self.revision)

    async def _heartbeat(self, msg: Msg) -> None:
        self.heartbeats.append(codec.decode(msg.data, Heartbeat))

    async def _log(self, msg: Msg) -> None:
        self.logs.append(codec.decode(msg.data, JobLog))

    async def dispatch(
        self, sessions: int = 1, *, job: str = "job1", first: int = 1, platform: str = "", **more: Any
    ) -> None:
        platform = platform or self.platforms[0]
        for n in range(first, first + sessions):
            d = Dispatch(
                job=job, session=n, platform=platform, target="shop", url="http://127.0.0.1:1/", **more
            )
            await self.dispatch_raw(codec.encode(d), platform)

    async def dispatch_raw(self, data: bytes, platform: str = "") -> None:
        with contextlib.suppress(MessageError):
            d = codec.decode(data, Dispatch)
            if d.egress is not None and d.egress.pool is not None:
                self.egress[d.job] = f"pool.{d.egress.pool}"
        await self.js.publish(job_dispatch(platform or self.platforms[0]), data)

    async def order(self, runner: str, command: str, **more: Any) -> ControlReply:
        message = codec.encode(RunnerControl(command=command, **more))  # type: ignore[arg-type]
        answer = await self.nc.request(runner_control(runner), message, timeout=2)
        return codec.decode(answer.data, ControlReply)

    async def cancel(self, job: str = "job1") -> None:
        await self.nc.publish(job_control(job), codec.encode(JobControl(job=job, command="cancel")))

    async def undone(self) -> int:
        """Messages in DISPATCH: with a runner, or waiting for one."""
        return int((await self.js.stream_info("DISPATCH")).state.messages)

    async def stored(self) -> list[SessionRecord]:
        """All records of the stream, in order."""
        info = await self.js.stream_info("PROGRESS")
        out: list[SessionRecord] = []
        for seq in range(max(1, info.state.first_seq), info.state.last_seq + 1):
            message = await self.js.get_msg("PROGRESS", seq, direct=True)
            assert message.data is not None
            out.append(codec.decode(message.data, SessionRecord))
        return out

    async def all_done(self, sessions: int, within: float = 15.0) -> list[SessionRecord]:
        """Wait until DISPATCH is empty and each of the sessions has a record; the records."""

        async def done() -> int | None:
            stored = (await self.js.stream_info("PROGRESS")).state.messages
            return stored if stored >= sessions and await self.undone() == 0 else None

        await eventually(done, within, what=f"{sessions} records, and nothing in DISPATCH")
        records = await self.stored()
        assert {r.session for r in records} == set(range(1, sessions + 1))
        return records

    async def all_done_but(self, waiting: int, within: float = 5.0) -> list[SessionRecord]:
        """Wait until only so many messages are in DISPATCH; the records."""

        async def done() -> str | None:
            return "done" if await self.undone() == waiting else None

        await eventually(done, within, what=f"{waiting} messages in DISPATCH")
        return await self.stored()

    async def heard(self, state: str, within: float = 5.0) -> Heartbeat:
        """Wait for a heartbeat in this state that comes from now on."""
        start = len(self.heartbeats)
        await eventually(
            lambda: any(b.state == state for b in self.heartbeats[start:]), within, what=f"a runner {state}"
        )
        return next(b for b in self.heartbeats[start:] if b.state == state)


@asynccontextmanager
async def front_desk(
    url: str, *, lease: float = 15.0, platforms: Sequence[str] = ("linux-chromium",)
) -> AsyncIterator[FrontDesk]:
    async with connection.connected(url, name="front desk", reconnect_wait=0.1) as nc:
        desk = FrontDesk(nc, lease=lease, platforms=platforms)
        await desk.open()
        yield desk


def counted(records: Sequence[SessionRecord]) -> Counter[int]:
    """Records by session."""
    return Counter(r.session for r in records)
