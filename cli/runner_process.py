"""`tb-runner start`: one runner as a process."""

from __future__ import annotations

import logging
from pathlib import Path

from runner import signals
from runner.browser import installer
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed
from runner.service import EXIT_RESTART, Runner
from runner.settings import RunnerConfig

from . import logs
from .settings import Settings, default_data_dir, labels_of

log = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Run until told to end; the exit code of the process (75 asks the service manager to start it again)."""
    logs.set_up(settings.log_level)
    data_dir = Path(settings.data_dir) if settings.data_dir else default_data_dir() / "runner"
    config = RunnerConfig(
        nats=settings.nats,
        data_dir=data_dir,
        name=settings.name,
        slots=settings.slots,
        labels=labels_of(settings),
        pool=settings.pool or None,
        allow_scripts=settings.allow_scripts,
        browsers=settings.browsers,
        grace_s=settings.grace,
        adaptive=settings.slots == 0,
    )
    if settings.browsers or not installed():
        await installer.ensure(settings.browsers or ["chromium"], log.info)
    runner = Runner(config, BrowserExecutor(settings.browsers or None, say=log.info))
    with signals.handled(runner):
        reason = await runner.run()
    return EXIT_RESTART if reason == "restart" else 0
