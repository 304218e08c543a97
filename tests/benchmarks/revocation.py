"""How long it takes from the command that revokes a runner until the broker has cut it, while it floods.

    python -m tests.benchmarks.revocation [--runs 50] [--cluster]

Each run: a runner joins; a process of its own connects with the credential and publishes as fast as it can.
Then `POST /runners/<name>/revoke` is sent, and that process tells when its connection was closed. One line of
JSON, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from broker_config.api import API_PREFIX
from tests.support.secure_scene import SecureScene, secure_scene


async def one(scene: SecureScene, http: httpx.AsyncClient, name: str) -> tuple[float, float, int]:
    """From the command to the cut, and to its answer, ms; and how much was sent meanwhile."""
    at = scene.tmp_path / name
    (await scene.credential(name)).save(at)
    arguments = ("--nats", scene.broker.url, "--data-dir", str(at))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.flooder", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        # Long enough for what it sends to have piled up wherever it can.
        await asyncio.sleep(0.5)
        began = time.monotonic()
        (await http.post(f"/runners/{name}/revoke")).raise_for_status()
        answered = time.monotonic()
        cut, sent = (await asyncio.wait_for(process.stdout.readline(), 10)).split()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    return 1000 * (float(cut) - began), 1000 * (answered - began), int(sent)


async def measure(runs: int, nodes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        async with (
            secure_scene(Path(directory), nodes=nodes, api_limit=0) as scene,
            httpx.AsyncClient(base_url=scene.orchestrator.url + API_PREFIX, timeout=30) as http,
        ):
            found = [await one(scene, http, f"bench-{n}") for n in range(runs)]
    cut = sorted(row[0] for row in found)
    return {
        "runs": runs,
        "nodes": nodes,
        "p50_ms": round(statistics.median(cut), 1),
        "p99_ms": round(cut[min(runs - 1, int(0.99 * runs))], 1),
        "max_ms": round(cut[-1], 1),
        "answered_p50_ms": round(statistics.median(row[1] for row in found), 1),
        "sent_p50": statistics.median(row[2] for row in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--cluster", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(json.dumps(asyncio.run(measure(args.runs, 3 if args.cluster else 1))))


if __name__ == "__main__":
    main()
