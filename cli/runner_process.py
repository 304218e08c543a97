"""`tb-runner start`: one runner as a process."""

from __future__ import annotations

import logging
from pathlib import Path

from broker_config.errors import CredentialEnded
from runner import signals
from runner.browser import installer
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed
from runner.service import EXIT_RESTART, Runner
from runner.settings import RunnerConfig

from . import logs, runner_join
from .output import err
from .runner_child import EXIT_ENDED
from .settings import Settings, default_data_dir, labels_of

log = logging.getLogger(__name__)


def data_dir_of(settings: Settings) -> Path:
    """Where a runner keeps its credential and its unsent results."""
    return Path(settings.data_dir) if settings.data_dir else default_data_dir() / "runner"


async def run(settings: Settings, join_token_file: Path | None = None) -> int:
    """Run until told to end; the exit code of the process (75 asks the service manager to start it again, 76
    says that its credential has ended)."""
    logs.set_up(settings.log_level)
    data_dir = data_dir_of(settings)
    credential = await runner_join.credential(
        data_dir,
        token_file=join_token_file,
        server=settings.server,
        ca_file=settings.ca_file,
        name=settings.name,
        insecure=settings.insecure,
    )
    config = RunnerConfig(
        nats=settings.nats,
        data_dir=data_dir,
        credential=credential,
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
    try:
        with signals.handled(runner):
            reason = await runner.run()
    except CredentialEnded as e:
        err().print(f"tb-runner: {e}", markup=False)
        return EXIT_ENDED
    return EXIT_RESTART if reason == "restart" else 0
