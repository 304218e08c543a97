"""`tb demo`: everything on one machine, a bundled shop, and a job of 24 sessions on it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from broker_config.platform import this_system
from orchestrator.web.server import WebServer
from runner.browser import installer

from . import logs, stop_signals
from .all_in_one import Running, all_in_one
from .client import Client
from .demo_shop import create_shop
from .exit_codes import ExitCode, of_verdict
from .job_summary import summary
from .jobs import detail_of
from .output import err, json_line, out
from .settings import Settings
from .watch import watch

SESSIONS = 24
#: How long a runner may take to try its browser and register, s.
RUNNER_PATIENCE = 60.0


def job_of(shop: str) -> dict[str, object]:
    """The demo's job: readers on two pages of the shop."""
    return {
        "name": "demo shop",
        "targets": [
            {"name": "home", "url": f"{shop}/", "sessions": SESSIONS // 2},
            {"name": "catalogue", "url": f"{shop}/shop", "sessions": SESSIONS // 2},
        ],
        "load": {"executor": "shared-sessions", "vus": 4},
        "platforms": ["linux-chromium"],
        "behaviour": {"dwell": "200ms-800ms"},
        "thresholds": ["error_rate < 1%", "load.p95 < 5s"],
    }


async def demo(settings: Settings, *, keep: bool, json: bool) -> ExitCode:
    """Run the demo; the exit code of the job's verdict. Interrupted, it leaves nothing behind.

    Interrupted before there is a verdict, it is `ABORTED`.
    """
    console = err()
    code = ExitCode.ABORTED

    def say(text: str) -> None:
        console.print(text, markup=False)

    async def run(scratch: str) -> None:
        nonlocal code
        say("looking for a browser …")
        found = await installer.ensure(["chromium"], say)
        say(f"using {found[0].browser} at {found[0].path}")
        say("starting broker, orchestrator, runner and the demo shop …")
        data_dir = Path(settings.data_dir) if settings.data_dir else Path(scratch)
        logs.set_up(settings.log_level, data_dir / "orchestrator.log")
        ours = msgspec.structs.replace(
            settings,
            port=0,
            nats_port=0,
            host="127.0.0.1",
            browsers=["chromium"],
            grace=min(settings.grace, 10),
        )
        async with (
            all_in_one(ours, data_dir, runner=True, hurry=signals.hurry, say=say) as running,
            WebServer(create_shop(), host="127.0.0.1", port=0) as shop,
            Client(running.web, token=running.token) as client,
        ):
            await running.runner_online(RUNNER_PATIENCE)
            document = job_of(shop.url) | {"platforms": [f"{this_system()}-chromium"]}
            view = await client.submit(document, key=None, source="demo")
            say(f"job {view.job.id}: {SESSIONS} sessions on two pages of {shop.url}, 4 at a time")
            done = await watch(client, view.job.id)
            code = of_verdict(done.verdict)
            if json:
                json_line(done)
            else:
                out().print(summary(done, await detail_of(client, view.job.id)))
            if keep:
                _where(say, running, shop.url, view.job.id)
                await asyncio.Event().wait()

    # The signals first: from here on nothing is left behind.
    with stop_signals.handled() as signals:
        scratch = tempfile.mkdtemp(prefix="trafficbuster-demo-")
        try:
            await signals.bound(run(scratch))
        except stop_signals.Interrupted:
            say("ended")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return code


def _where(say: Callable[[str], None], running: Running, shop: str, job: str) -> None:
    say("")
    say("Everything stays up until Ctrl-C:")
    say(f"  shop     {shop}")
    say(f"  API      {running.web}/api/v1/openapi.json")
    say(f"  broker   {running.nats}")
    say(f"  data     {running.data_dir}")
    say("Try:")
    say(f"  tb --server {running.web} sessions list {job}")
    say(f"  tb --server {running.web} jobs submit --url {shop}/ --sessions 20 --vus 4 --watch")
    say(f"  nats -s {running.nats} sub 'job.>'")
    say(f"  nats -s {running.nats} kv get jobs {job}")
