"""`tb orchestrator start`: one orchestrator as a process."""

from __future__ import annotations

import asyncio
import contextlib

from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig

from . import logs, running_servers, stop_signals
from .exit_codes import ExitCode
from .oidc_settings import oidc_of
from .output import err
from .settings import Settings, data_dir_of, opening_of


async def serve(settings: Settings) -> ExitCode:
    """Serve until SIGINT or SIGTERM."""
    logs.set_up(settings.log_level)
    data_dir = data_dir_of(settings)
    config = OrchestratorConfig(
        nats=settings.nats,
        **opening_of(settings),
        name=settings.name,
        replicas=settings.replicas,
        allowed_origins=settings.allowed_origins,
        keys_dir=settings.keys,
        secure=settings.secure,
        nats_ca=settings.nats_ca,
        runner_nats=settings.runner_brokers,
        data_dir=str(data_dir),
        oidc=oidc_of(settings),
    )

    async def work() -> None:
        async with Orchestrator(config) as orchestrator:
            with running_servers.noted(orchestrator.url, settings.host, data_dir):
                err().print(f"orchestrator {orchestrator.name} serves {orchestrator.url}", markup=False)
                await asyncio.Event().wait()

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(work())
    return ExitCode.PASSED
