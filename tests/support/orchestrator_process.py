"""An orchestrator as a process of its own, with the lease and the fail points that a test wants.

python -m tests.support.orchestrator_process --nats URL --port N --name NAME [--lease S] [--replicas N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from typing import Any

from broker_config.errors import TrafficBusterError
from broker_config.keyring import Keyring
from cli import stop_signals
from orchestrator.bus.dispatch_queue import DispatchQueue
from orchestrator.bus.jet import Jet
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from tests.support import failpoints


async def serve(args: argparse.Namespace) -> None:
    config = OrchestratorConfig(
        nats=args.nats,
        port=args.port,
        name=args.name,
        lease=args.lease,
        replicas=args.replicas,
        anonymous="admin",
    )

    async def work() -> None:
        async with Orchestrator(config):
            await asyncio.Event().wait()

    with stop_signals.handled() as signals, contextlib.suppress(stop_signals.Interrupted):
        await signals.bound(work())


def _sign_nothing() -> None:
    """Dispatches go out without a signature, and no runner is told of a key."""
    Keyring.dispatch_keys = property(lambda ring: [])  # type: ignore[method-assign,assignment]
    begin = DispatchQueue.__init__

    def unsigned(queue: DispatchQueue, jet: Jet, **settings: Any) -> None:
        begin(queue, jet, **settings | {"signer": None, "verifier": None})

    DispatchQueue.__init__ = unsigned  # type: ignore[method-assign,assignment]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--unsigned", action="store_true", help="to measure what signing costs")
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for noisy in ("httpx", "uvicorn", "uvicorn.error"):
        logging.getLogger(noisy).setLevel("ERROR")
    failpoints.arm_orchestrator()
    if args.unsigned:
        _sign_nothing()
    try:
        asyncio.run(serve(args))
    except TrafficBusterError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
