"""A runner for the fault campaign: sessions of 10 to 400 ms, a few of 2 s, on a timer; and fail points.

The journal holds, beside what the stub executor notes, a line `["told", job, session, attempt, facts]` for
each start: the wall clock, and what the message said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from pathlib import Path

from broker_config.errors import TrafficBusterError
from broker_config.messages import Dispatch, ErrorInfo
from runner import signals
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.service import Runner
from runner.settings import RunnerConfig
from runner.work.executor import Say
from tests.support import failpoints
from tests.support.stub_executor import StubExecutor

#: Path of the page on which some sessions fail: those that `fails` names.
FLAKY = "/flaky"


def fails(seed: int) -> bool:
    """Whether the session of that seed fails on the flaky page; in each of its attempts."""
    return random.Random(seed + 1).random() < 0.4


class Witness(StubExecutor):
    """Tells also when it began by the wall clock, and what it was told."""

    def __init__(self, journal: Path, platforms: list[str]) -> None:
        super().__init__(_seconds, platforms=platforms, play=_play, journal=journal)
        self._told = journal.open("a", buffering=1)

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        d = dispatch
        facts = {"at": time.time(), "start_at": d.start_at, "rate": d.rate, "platform": d.platform}
        self._told.write(json.dumps(["told", d.job, d.session, d.attempt, facts]) + "\n")
        return await super().run(dispatch, say, pool)


def _seconds(dispatch: Dispatch) -> float:
    rng = random.Random(dispatch.seed)
    return 2.0 if rng.random() < 0.02 else rng.uniform(0.01, 0.4)


def _play(dispatch: Dispatch) -> ErrorInfo | None:
    if dispatch.url.endswith(FLAKY) and fails(dispatch.seed):
        return ErrorInfo(kind="http_status", detail="500")
    return None


async def run(args: argparse.Namespace) -> None:
    config = RunnerConfig(
        data_dir=args.data_dir,
        nats=args.nats,
        name=args.name,
        slots=6,
        saturation_busy=2.0,
        grace_s=5.0,
        allow_scripts=args.allow_scripts,
    )
    executor = Witness(args.journal, args.platform or ["linux-chromium"])
    runner = Runner(config, executor)
    with signals.handled(runner):
        await runner.run()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--platform", action="append")
    parser.add_argument("--allow-scripts", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    failpoints.arm_runner()
    try:
        asyncio.run(run(args))
    except TrafficBusterError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
