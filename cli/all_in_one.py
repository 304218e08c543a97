"""Everything on one machine: embedded broker and orchestrator in this process tree, one runner as a child."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import ServerNotStarted
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig

from .runner_child import RunnerChild, RunnerFailed
from .settings import Settings


@dataclass(frozen=True)
class Running:
    """Where things are."""

    web: str
    nats: str
    data_dir: Path
    orchestrator: Orchestrator

    async def runner_online(self, within: float) -> None:
        """Wait until a runner offers a platform. Raises `RunnerFailed` after `within` seconds."""
        fleet = self.orchestrator.fleet
        try:
            async with asyncio.timeout(within):
                while not fleet.platforms():
                    await fleet.wait_changed(fleet.version)
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
    async with AsyncExitStack() as stack:
        server = _broker(settings, data_dir, say)
        try:
            await stack.enter_async_context(server)
        except ServerNotStarted as e:
            # A directory in use by another one usually comes with its port: the directory is the reason.
            if "--data-dir" not in str(e):
                await _port_is_free(settings.nats_port)
            raise
        config = OrchestratorConfig(
            nats=server.url,
            host=settings.host,
            port=settings.port,
            name=settings.name,
            replicas=settings.cluster,
            allowed_origins=settings.allowed_origins,
            store_dir=str(data_dir),
        )
        async with Orchestrator(config) as orchestrator, asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = [group.create_task(server.watch(), name="embedded broker")]
            if runner:
                child = RunnerChild(
                    _arguments(settings, server.url, data_dir),
                    data_dir / "runner.log",
                    grace=settings.grace,
                    hurry=hurry,
                    say=say,
                )
                tasks.append(group.create_task(child.run(), name="runner"))
            try:
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


def _broker(
    settings: Settings, data_dir: Path, say: Callable[[str], None]
) -> EmbeddedServer | EmbeddedCluster:
    if settings.cluster == 1:
        return EmbeddedServer(data_dir / "nats", port=settings.nats_port, on_event=say)
    # Beside the single node's directory: neither can take over what the other has stored.
    return EmbeddedCluster(data_dir / "nats-cluster", port=settings.nats_port, on_event=say)


def _arguments(settings: Settings, url: str, data_dir: Path) -> list[str]:
    out = ["--nats", url, "--data-dir", str(data_dir / "runner"), "--grace", str(settings.grace)]
    out += ["--slots", str(settings.slots), "--log-level", settings.log_level]
    for browser in settings.browsers:
        out += ["--browser", browser]
    for label in settings.labels:
        out += ["--label", label]
    out += ["--allow-scripts"] if settings.allow_scripts else []
    return [*out, "--pool", settings.pool] if settings.pool else out
