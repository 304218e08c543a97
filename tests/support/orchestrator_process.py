"""An orchestrator as a process of its own, with the lease and the fail points that a test wants.

python -m tests.support.orchestrator_process --nats URL --port N --name NAME [--lease S] [--replicas N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys

from broker_config.errors import TrafficBusterError
from cli import stop_signals
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from tests.support import failpoints


async def serve(args: argparse.Namespace) -> None:
    config = OrchestratorConfig(
        nats=args.nats, port=args.port, name=args.name, lease=args.lease, replicas=args.replicas
    )

    async def work() -> None:
        async with Orchestrator(config):
            await asyncio.Event().wait()

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(work())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--replicas", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for noisy in ("httpx", "uvicorn", "uvicorn.error"):
        logging.getLogger(noisy).setLevel("ERROR")
    failpoints.arm_orchestrator()
    try:
        asyncio.run(serve(args))
    except TrafficBusterError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
