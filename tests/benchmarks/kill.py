"""From the command to the last byte: how long a killed job is still seen at its site.

Two orchestrators and a runner as processes; the command comes in at the one that does not conduct. A session
keeps requests, slow answers, a stream, a download, an upload, a WebSocket and a tunnel going through the real
gate, and tries again what is cut. The site writes down when it last heard or sent a byte.

    uv run python -m tests.benchmarks.kill [--rounds 50] [--sessions 2] [--scope job|fleet] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from broker_config.embedded_server import EmbeddedServer
from tests.support.kill_scene import KillScene, kill_scene

#: Silence of so many seconds is taken for the end.
QUIET = 1.0


async def one(scene: KillScene, name: str, sessions: int, scope: str) -> float:
    """Milliseconds from the command to the last byte."""
    job = await scene.other.submit(scene.site.url(name), sessions)
    await scene.busy(name, sessions, 20)
    order: dict[str, Any] = {"job": job} if scope == "job" else {"fleet": True}
    began = await scene.other.kill(**order)
    last = await scene.silent(name, quiet=QUIET)
    await scene.other.finished(job)
    if scope == "fleet":
        (await scene.other.http.delete("/kills/fleet")).raise_for_status()
    # A site that fell silent before the command has heard of nothing afterwards.
    return max(0.0, 1000 * (last - began))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        directory = Path(name)
        async with (
            EmbeddedServer(directory / "nats") as server,
            kill_scene(server.url, directory, slots=options.sessions) as scene,
        ):
            took = [
                await one(scene, f"n{n}", options.sessions, options.scope) for n in range(options.rounds + 1)
            ][1:]
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {
        "scope": options.scope,
        "rounds": options.rounds,
        "sessions": options.sessions,
        "p50_ms": round(statistics.median(took), 1),
        "p99_ms": round(cuts[98], 1),
        "max_ms": round(max(took), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--scope", choices=("job", "fleet"), default="job")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options))
    print(
        f"{found['rounds']} kills of a {found['scope']} with {found['sessions']} sessions: last byte at the "
        f"site after {found['p50_ms']} ms (p50), {found['p99_ms']} ms (p99), {found['max_ms']} ms (max)"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
