"""Everything on one machine: embedded broker and orchestrator in this process tree, one runner as a child."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker_config.connection import servers_of
from broker_config.errors import ServerNotStarted
from broker_config.keyring import Keyring
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig

from . import own_runner, running_servers
from .embedded_broker import BrokerPlan, broker
from .oidc_settings import oidc_of
from .runner_child import RunnerChild, RunnerFailed
from .settings import Settings, opening_of


@dataclass(frozen=True)
class Running:
    """Where things are."""

    web: str
    nats: str
    data_dir: Path
    orchestrator: Orchestrator

    @property
    def token(self) -> str:
        """Of an admin, for this machine."""
        return (self.data_dir / "admin.token").read_text("ascii").strip()

    async def platforms(self) -> list[str]:
        """Those that runners offer, as soon as one does."""
        fleet = self.orchestrator.fleet
        while not (found := fleet.platforms()):
            await fleet.wait_changed(fleet.version)
        return [p.platform for p in found]

    async def runner_online(self, within: float) -> None:
        """Wait until a runner offers a platform. Raises `RunnerFailed` after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self.platforms()
        except TimeoutError:
            raise RunnerFailed(
                f"no runner came online within {within:g} s; its log is {self.data_dir / 'runner.log'}"
            ) from None


@asynccontextmanager
async def all_in_one(
    settings: Settings,
    data_dir: Path,
    *,
    runner: bool,
    hurry: asyncio.Event,
    say: Callable[[str], None],
) -> AsyncIterator[Running]:
    """Start broker, orchestrator and perhaps a runner; on the way out the runner first, the broker last."""
    keys = Path(settings.keys) if settings.keys else data_dir / "keys"
    plan = BrokerPlan.of(settings)
    keyring = await asyncio.to_thread(Keyring.load_or_make, keys)
    async with AsyncExitStack() as stack:
        server = broker(plan, settings, keyring, data_dir, say)
        try:
            await stack.enter_async_context(server)
        except ServerNotStarted as e:
            # A directory in use by another one usually comes with its port: the directory is the reason.
            if "--data-dir" not in str(e):
                await _port_is_free(settings.nats_port)
            raise
        config = OrchestratorConfig(
            nats=server.url,
            **opening_of(settings),
            name=settings.name,
            replicas=settings.cluster,
            allowed_origins=settings.allowed_origins,
            store_dir=str(data_dir),
            keys_dir=str(keys),
            secure=plan.secure,
            runner_nats=settings.runner_brokers or servers_of(server.url_at(plan.host)),
            nats_ca=plan.tls.cert_file if plan.tls else "",
            data_dir=str(data_dir),
            oidc=oidc_of(settings),
        )
        async with Orchestrator(config) as orchestrator, asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = [group.create_task(server.watch(), name="embedded broker")]
            refusal = None
            if runner and plan.secure:
                refusal = await own_runner.join(orchestrator, settings, data_dir / "runner")
            if refusal is not None:
                say(refusal)
            elif runner:
                child = RunnerChild(
                    _arguments(settings, server.url, data_dir),
                    data_dir / "runner.log",
                    grace=settings.grace,
                    hurry=hurry,
                    say=say,
                )
                tasks.append(group.create_task(child.run(), name="runner"))
            try:
                with running_servers.noted(orchestrator.url, settings.host, data_dir):
                    yield Running(orchestrator.url, server.url, data_dir, orchestrator)
            finally:
                for task in tasks:
                    task.cancel()


async def _port_is_free(port: int) -> None:
    """Raises `ServerNotStarted` with the likely reason, in place of the end of nats-server's log."""
    from .checks.ports import listener, listens

    if port and await listens(port):
        by = listener(port) or "another program"
        raise ServerNotStarted(
            f"port {port}, for the broker, is taken by {by}; end it, or choose another one by --nats-port "
            "(0 takes a free one)"
        ) from None


def _arguments(settings: Settings, url: str, data_dir: Path) -> list[str]:
    out = ["--nats", url, "--data-dir", str(data_dir / "runner"), "--grace", str(settings.grace)]
    out += ["--slots", str(settings.slots), "--log-level", settings.log_level]
    for browser in settings.browsers:
        out += ["--browser", browser]
    for label in settings.labels:
        out += ["--label", label]
    out += ["--allow-scripts"] if settings.allow_scripts else []
    return [*out, "--pool", settings.pool] if settings.pool else out
