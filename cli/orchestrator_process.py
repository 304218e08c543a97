"""`tb orchestrator start`: one orchestrator as a process."""

from __future__ import annotations

import asyncio
import contextlib

from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig

from . import logs, stop_signals
from .exit_codes import ExitCode
from .output import err
from .settings import Settings


async def serve(settings: Settings) -> ExitCode:
    """Serve until SIGINT or SIGTERM."""
    logs.set_up(settings.log_level)
    config = OrchestratorConfig(
        nats=settings.nats,
        host=settings.host,
        port=settings.port,
        name=settings.name,
        replicas=settings.replicas,
        allowed_origins=settings.allowed_origins,
    )

    async def work() -> None:
        async with Orchestrator(config) as orchestrator:
            err().print(f"orchestrator {orchestrator.name} serves {orchestrator.url}", markup=False)
            await asyncio.Event().wait()

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(work())
    return ExitCode.PASSED
