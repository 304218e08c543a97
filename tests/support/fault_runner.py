"""A runner for the fault campaign: sessions of 10 to 400 ms on a timer, and fail points."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from pathlib import Path

from broker_config.errors import TrafficBusterError
from runner import signals
from runner.service import Runner
from runner.settings import RunnerConfig
from tests.support import failpoints
from tests.support.stub_executor import StubExecutor


async def run(args: argparse.Namespace) -> None:
    config = RunnerConfig(
        data_dir=args.data_dir, nats=args.nats, name=args.name, slots=6, saturation_busy=2.0, grace_s=5.0
    )
    executor = StubExecutor(lambda d: random.Random(d.seed).uniform(0.01, 0.4), journal=args.journal)
    runner = Runner(config, executor)
    with signals.handled(runner):
        await runner.run()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
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
