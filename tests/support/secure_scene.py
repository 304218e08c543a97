"""A broker in operator mode with an orchestrator, runners that join, and a program that does as it likes."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import connection
from broker_config.broker_login import BrokerLogin
from broker_config.duration import Duration
from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from broker_config.enrolment import InviteOrder, RunnerJoin, joined
from broker_config.errors import BrokerUnavailable
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.keyring import Keyring
from broker_config.operator_mode import JS_PREFIX, BrokerAccounts, broker_accounts, runner_inbox
from broker_config.runner_credential import RunnerCredential
from orchestrator.bus.enrolment import Enrolment
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


class SecureScene:
    """`keys` is the directory of `keyring`."""

    def __init__(
        self, keyring: Keyring, keys: Path, broker: EmbeddedServer | EmbeddedCluster, tmp_path: Path
    ) -> None:
        self.keyring = keyring
        self.keys = keys
        self.broker = broker
        self.tmp_path = tmp_path
        self.orchestrator: Orchestrator

    @property
    def enrolment(self) -> Enrolment:
        assert isinstance(self.orchestrator.enrolment, Enrolment)
        return self.orchestrator.enrolment

    def config(self, **more: Any) -> OrchestratorConfig:
        replicas = 3 if isinstance(self.broker, EmbeddedCluster) else 1
        settings: dict[str, Any] = {"port": 0, "anonymous": "admin", "replicas": replicas, **more}
        return OrchestratorConfig(nats=self.broker.url, secure=True, keys_dir=str(self.keys), **settings)

    async def credential(
        self, name: str, *, pool: str | None = None, platforms: Sequence[str] = (), scripts: bool = False
    ) -> RunnerCredential:
        """A runner that has joined by an invite of its own."""
        order = InviteOrder(ttl=Duration(60), pool=pool, platforms=list(platforms), scripts=scripts)
        made = await self.enrolment.invite(order, "test")
        new = RunnerCredential.new(name)
        grant = await self.enrolment.join(wish(new, made.token), "127.0.0.1")
        return new.granted(grant, now=time.time())

    async def submit(self, sessions: int, **spec: object) -> Job:
        document = {"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": sessions, **spec}
        job, _ = await self.orchestrator.store.submit(read_spec(document), source="api", idempotency_key=None)
        return job

    async def finished(self, job: str, within: float = 30.0) -> Job:
        async def ended() -> Job | None:
            try:
                found = await self.orchestrator.store.get(job)
            except BrokerUnavailable:
                return None  # a cluster elects its leaders
            return found if found.state == "finished" else None

        found = await eventually(ended, within, what=f"{job} finished")
        assert found is not None
        return found

    @asynccontextmanager
    async def orchestrator_login(self) -> AsyncIterator[Client]:
        """A connection with an orchestrator's rights."""
        login = BrokerLogin.of_orchestrator(self.keyring, "test")
        async with connection.connected(self.broker.url, name="test", login=login) as nc:
            yield nc


def wish(credential: RunnerCredential, token: str, **more: str) -> RunnerJoin:
    proof = base64.b64encode(credential.sign(joined(token, credential.runner))).decode()
    fields = {"runner": credential.runner, "key": credential.key, "signature": proof, **more}
    return RunnerJoin(token=token, **fields)


@asynccontextmanager
async def secure_scene(
    tmp_path: Path,
    *,
    nodes: int = 1,
    make: Callable[[Path, BrokerAccounts], EmbeddedServer] | None = None,
    **more: Any,
) -> AsyncIterator[SecureScene]:
    """`make` gives another broker than the usual one; `more` are settings of the orchestrator."""
    keys = tmp_path / "keys"
    keyring = Keyring.load_or_make(keys)
    accounts, at = broker_accounts(keyring), tmp_path / "secure-broker"
    broker: EmbeddedServer | EmbeddedCluster
    if nodes == 3:
        broker = EmbeddedCluster(at, sync_always=False, accounts=accounts, on_event=lambda _: None)
    elif make is not None:
        broker = make(at, accounts)
    else:
        broker = EmbeddedServer(at, sync_always=False, accounts=accounts)
    async with broker:
        scene = SecureScene(keyring, keys, broker, tmp_path)
        async with Orchestrator(scene.config(**more)) as scene.orchestrator:
            await scene.enrolment.listening.wait()
            yield scene


@asynccontextmanager
async def honest_runner(
    scene: SecureScene, credential: RunnerCredential, executor: StubExecutor, **more: Any
) -> AsyncIterator[Runner]:
    """A real runner with a timer for a browser, in this process; drained at the end."""
    at = scene.tmp_path / credential.runner
    settings = {"slots": 2, "saturation_busy": 2.0, "grace_s": 5.0, **more}
    runner = Runner(
        RunnerConfig(data_dir=at, nats=scene.broker.url, credential=credential, **settings), executor
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        await eventually(runner.registered.is_set, what=f"{credential.runner} registered")
        yield runner
        runner.drain()


class HostileRunner:
    """A program of its own with a valid credential, that does what no runner does. `heard` is all that comes
    to it, `refused` what the broker has refused."""

    def __init__(self, credential: RunnerCredential) -> None:
        self.credential = credential
        self.name = credential.runner
        self.refused: list[str] = []
        self.heard: list[Msg] = []
        self.nc: Client

    async def _hear(self, msg: Msg) -> None:
        self.heard.append(msg)

    async def settle(self) -> None:
        """Wait until the broker has seen all, and has answered what it refuses."""
        await self.nc.flush()
        await self.nc.flush()

    async def refuses_publish(self, subject: str, data: bytes = b"{}", **more: Any) -> bool:
        await self.nc.publish(subject, data, **more)
        await self.settle()
        return f'publish to "{subject.lower()}"' in (self.refused or [""])[-1]

    async def refuses_subscribe(self, subject: str, queue: str = "") -> bool:
        sub = await self.nc.subscribe(subject, queue=queue, cb=self._hear)
        await self.settle()
        found = f'subscription to "{subject.lower()}"' in (self.refused or [""])[-1]
        if found:
            await sub.unsubscribe()
        return found

    async def ask(self, subject: str, data: bytes = b"{}", **more: Any) -> bytes:
        return bytes((await self.nc.request(subject, data, timeout=3, **more)).data)

    async def answered(self, subject: str, data: bytes) -> bool:
        """Whether it is, within a second."""
        try:
            await self.nc.request(subject, data, timeout=1)
        except nats.errors.TimeoutError:
            return False
        return True

    async def pull(self, consumer: str, batch: int = 1, within: float = 3.0) -> Msg:
        inbox = self.nc.new_inbox()
        sub = await self.nc.subscribe(inbox)
        body = json.dumps({"batch": batch, "expires": int(within * 1e9)}).encode()
        await self.nc.publish(f"{JS_PREFIX}.CONSUMER.MSG.NEXT.DISPATCH.{consumer}", body, reply=inbox)
        return await sub.next_msg(timeout=within + 1)


@asynccontextmanager
async def hostile_runner(scene: SecureScene, credential: RunnerCredential) -> AsyncIterator[HostileRunner]:
    async with AsyncExitStack() as stack:
        hostile = HostileRunner(credential)
        hostile.nc = await stack.enter_async_context(
            connection.connected(
                scene.broker.url,
                name="hostile",
                login=credential.login(),
                inbox_prefix=runner_inbox(credential.runner),
                on_error=lambda e: hostile.refused.append(str(e)),
            )
        )
        yield hostile
