"""`tb up`: everything on one machine, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from broker_config.errors import SettingsError

from . import logs, stop_signals
from .all_in_one import all_in_one
from .exit_codes import ExitCode
from .output import err
from .settings import Settings, default_data_dir


async def up(settings: Settings, *, runner: bool, verbose: bool) -> ExitCode:
    """Serve until SIGINT or SIGTERM; a second one cuts the drain short.

    The log goes to a file in the data directory. Of it stderr gets the warnings, all if `verbose`.
    """
    data_dir = Path(settings.data_dir) if settings.data_dir else default_data_dir()
    log = data_dir / "orchestrator.log"
    try:
        logs.set_up(settings.log_level, log, shown=settings.log_level if verbose else "warning")
    except OSError as e:
        why = e.strerror or str(e)
        raise SettingsError(
            f"data directory {data_dir} cannot be used: {why}; choose one by --data-dir"
        ) from None
    console = err()

    def say(text: str) -> None:
        console.print(text, markup=False)

    async def serve() -> None:
        async with all_in_one(settings, data_dir, runner=runner, hurry=signals.hurry, say=say) as running:
            say(f"TrafficBuster serves {running.web}")
            say(f"  broker   {running.nats}")
            say(f"  data     {data_dir}")
            say(f"  log      {log}")
            # As it must be typed: client commands look at the usual address unless told otherwise.
            server = "" if running.web == Settings().server else f" --server {running.web}"
            say(f"  submit   tb{server} jobs submit --url http://127.0.0.1:… --sessions 10 --vus 2 --watch")
            say("Ctrl-C ends it: running sessions are finished first; a second Ctrl-C hands them back.")
            try:
                if runner:
                    say(f"a runner is ready: {', '.join(await running.platforms())}")
                await asyncio.Event().wait()
            finally:
                say("ending…")

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(serve())
    say("ended")
    return ExitCode.PASSED
