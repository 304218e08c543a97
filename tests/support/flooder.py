"""A runner's credential in the hands of a program that floods, as a process of its own.

python -m tests.support.flooder --nats URL --data-dir DIR

It says `ready` once it is connected, and in the end when (time.monotonic) the broker has cut it, and how much
it had sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path

import nats.errors

from broker_config import connection
from broker_config.operator_mode import runner_inbox
from broker_config.runner_credential import RunnerCredential
from broker_config.subjects import job_log, runner_heartbeat, runner_register


async def flood(url: str, data_dir: Path) -> None:
    credential = RunnerCredential.load(data_dir)
    assert credential is not None
    name = credential.runner
    cut = asyncio.Event()
    at = 0.0

    def gone() -> None:
        nonlocal at
        at = at or time.monotonic()
        cut.set()

    nc = await connection.connect(
        url,
        name="flooder",
        login=credential.login(),
        inbox_prefix=runner_inbox(name),
        on_closed=gone,
        on_disconnected=gone,
        on_error=lambda e: None,
    )
    print("ready", flush=True)
    sent = 0

    async def send() -> None:
        nonlocal sent
        with contextlib.suppress(nats.errors.Error, OSError):
            while True:
                for subject in (runner_heartbeat(name), job_log("j1", name), runner_register(name)):
                    await nc.publish(subject, b"{}", reply="job.control.all")
                    sent += 1
                await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    await cut.wait()
    sending.cancel()
    print(at, sent, flush=True)
    with contextlib.suppress(OSError, nats.errors.Error):
        await nc.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    asyncio.run(flood(args.nats, args.data_dir))


if __name__ == "__main__":
    main()
