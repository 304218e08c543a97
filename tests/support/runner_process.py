"""A runner as a process of its own, with a timer in place of a browser.

python -m tests.support.runner_process --nats URL --data-dir DIR [--name …] [--slots N] [--seconds S]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from broker_config.errors import TrafficBusterError
from broker_config.messages import ErrorInfo
from runner import signals
from runner.service import EXIT_RESTART, Runner
from runner.settings import RunnerConfig
from runner.work.executor import Executor
from tests.support.stub_executor import StubExecutor
from tests.support.traffic_executor import TrafficExecutor


async def run(args: argparse.Namespace) -> int:
    config = RunnerConfig(
        data_dir=args.data_dir,
        nats=args.nats,
        name=args.name,
        slots=args.slots,
        pool=args.pool,
        grace_s=args.grace,
        saturation_busy=2.0,
    )
    error = ErrorInfo(kind=args.fault, infrastructure=True) if args.fault else None
    executor: Executor = (
        TrafficExecutor(stubborn=args.stubborn)
        if args.traffic
        else StubExecutor(
            None if args.seconds < 0 else args.seconds,
            platforms=args.platform or ["linux-chromium"],
            play=lambda dispatch: error,
            journal=args.journal,
        )
    )
    runner = Runner(config, executor)
    with signals.handled(runner):
        reason = await runner.run()
    return EXIT_RESTART if reason == "restart" else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--pool")
    parser.add_argument("--platform", action="append")
    parser.add_argument("--grace", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each session; below 0: for ever")
    parser.add_argument("--fault", default="", help="kind of the fault in which each session ends")
    parser.add_argument("--journal", type=Path, help="file to which starts and ends are appended")
    parser.add_argument("--traffic", action="store_true", help="sessions that never rest (TrafficExecutor)")
    parser.add_argument("--stubborn", type=float, default=0.0, help="with --traffic: seconds to end one")
    parser.add_argument("--log", default="INFO")
    args = parser.parse_args()
    logging.basicConfig(level=args.log, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        return asyncio.run(run(args))
    except TrafficBusterError as e:
        print(e, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
