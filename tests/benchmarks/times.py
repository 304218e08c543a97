"""How long the system takes to notice what has died, and to go on: p50 and p99 over a number of rounds.

    uv run python -m tests.benchmarks.times [--rounds 10] [--only NAME …] [--lease 15] [--json FILE]

Real nats-server (`sync_interval: always`), two orchestrators, runners with a timer in place of the browser;
each is a process of its own, killed with SIGKILL, stopped with SIGSTOP or drained with SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec, connection
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import JobProgress
from broker_config.subjects import job_progress
from tests.campaigns.process import Process
from tests.support.ports import free_ports
from tests.support.runner_processes import RunnerProcess, runner_process
from tests.support.waiting import eventually

#: What is measured, its unit, and the p99 that is wanted.
GOALS = {
    "runner lost": 6.0,
    "sessions elsewhere": 20.0,
    "conductor takeover": 6.0,
    "broker restart": 5.0,
    "drain": None,
    "zombie silent": 1.0,
}

clock = time.monotonic


class System:
    """A broker and two orchestrators. `took` collects seconds by what was measured, `wrong` what was lost."""

    def __init__(self, directory: Path, broker: EmbeddedServer, lease: float, nc: Client) -> None:
        self.directory = directory
        self.broker = broker
        self.lease = lease
        self.nc = nc
        self.took: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self._numbers = itertools.count(1)
        self.urls = [f"http://127.0.0.1:{p}/api/v1" for p in free_ports(2)]
        self.orchestrators = {
            f"o{i}": Process(
                f"o{i}",
                "tests.support.orchestrator_process",
                [
                    *("--nats", broker.url, "--port", url.split(":")[2].split("/")[0], "--name", f"o{i}"),
                    *("--lease", str(lease)),
                ],
                directory,
            )
            for i, url in enumerate(self.urls, 1)
        }

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """What the first orchestrator that answers says."""
        last: object = None
        end = clock() + 30
        async with httpx.AsyncClient(timeout=5) as http:
            while clock() < end:
                for url in self.urls:
                    try:
                        answer = await http.request(method, url + path, **options)
                    except httpx.HTTPError as e:
                        last = e
                        continue
                    if answer.status_code < 500:
                        answer.raise_for_status()
                        return answer.json()
                    last = answer.text
                await asyncio.sleep(0.05)
        raise AssertionError(f"nobody answers {method} {path}: {last!r}")

    @asynccontextmanager
    async def runner(self, seconds: float, *, slots: int = 4) -> AsyncIterator[RunnerProcess]:
        """A runner that is online; each of its sessions takes so long."""
        name = f"runner{next(self._numbers)}"
        arguments = ("--slots", str(slots), "--seconds", str(seconds))
        async with runner_process(self.broker.url, self.directory, name, *arguments) as runner:
            await eventually(lambda: self._is(name, "online"), 20, what=f"{name} online")
            yield runner

    async def _is(self, runner: str, state: str) -> bool:
        items = (await self.ask("GET", "/runners"))["items"]
        return any(r["id"] == runner and r["state"] == state for r in items)

    async def submit(self, sessions: int, vus: int) -> str:
        document = {
            "targets": [{"url": "http://127.0.0.1:1/"}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": vus},
            "retries": 3,
        }
        return str((await self.ask("POST", "/jobs", json=document))["job"]["id"])

    async def cancel(self, job: str) -> None:
        await self.ask("POST", f"/jobs/{job}/cancel", json={})
        await self.finished(job)

    async def finished(self, job: str, within: float = 60.0) -> Any:
        async def ended() -> Any:
            view = await self.ask("GET", f"/jobs/{job}")
            return view if view["job"]["state"] == "finished" else None

        return await eventually(ended, within, what=f"{job} finished")

    async def progress_after(self, job: str, disturb: Callable[[], Awaitable[None]], what: str) -> None:
        """Seconds from the disturbance to the first progress that was made after it."""
        since = float("inf")
        heard = asyncio.Event()

        async def take(msg: Msg) -> None:
            if codec.decode(msg.data, JobProgress).at > since:
                heard.set()

        sub = await self.nc.subscribe(job_progress(job), cb=take)
        await self.nc.flush()
        await self.nc.flush()
        await disturb()
        began, since = clock(), time.time()
        async with asyncio.timeout(30):
            await heard.wait()
        self.took[what].append(clock() - began)
        await sub.unsubscribe()


async def lost_runner(system: System) -> None:
    """A runner is killed: when is it said to be lost, when do all its sessions run elsewhere?"""
    async with system.runner(600) as victim, system.runner(600, slots=8) as other:
        job = await system.submit(4, 4)
        await eventually(
            lambda: len(victim.events("start")) + len(other.events("start")) == 4, 20, what="sessions begun"
        )
        held = {e.session for e in victim.events("start")}
        victim.signal(signal.SIGKILL)
        began = clock()
        await victim.end()

        async def lost() -> None:
            await eventually(lambda: system._is(victim.name, "lost"), 30, what="the runner is lost")
            system.took["runner lost"].append(clock() - began)

        async def elsewhere() -> None:
            def again() -> bool:
                return held <= {e.session for e in other.events("start")}

            await eventually(again, 2 * system.lease + 20, what="its sessions run elsewhere")
            at = {e.session: e.at for e in other.events("start")}
            system.took["sessions elsewhere"] += [at[s] - began for s in held]

        async with asyncio.TaskGroup() as group:
            group.create_task(lost())
            group.create_task(elsewhere())
        await system.cancel(job)


async def takeover(system: System) -> None:
    """The orchestrator that conducts is killed: when does progress go on?"""
    async with system.runner(0.1):
        job = await system.submit(100_000, 4)
        await _running(system, job)
        holder = (await system.ask("GET", "/health"))["conductor"]

        async def kill() -> None:
            system.orchestrators[holder].signal(signal.SIGKILL)

        await system.progress_after(job, kill, "conductor takeover")
        await system.cancel(job)
        await eventually(lambda: _all_answer(system), 20, what="both orchestrators answer")


async def broker_restart(system: System) -> None:
    """The broker is killed; it is started again at once. When does progress go on?"""
    async with system.runner(0.1):
        job = await system.submit(100_000, 4)
        await _running(system, job)

        async def kill() -> None:
            os.kill(system.broker.pid, signal.SIGKILL)

        await system.progress_after(job, kill, "broker restart")
        await system.cancel(job)


async def drain(system: System) -> None:
    """A runner is told to end while it holds sessions of a second each: how long, and is anything lost?"""
    async with system.runner(1.0) as runner, system.runner(1.0):
        job = await system.submit(24, 8)
        await runner.seen("start", 4)
        runner.signal(signal.SIGTERM)
        began = clock()
        await runner.end(20)
        system.took["drain"].append(clock() - began)
        counts = (await system.finished(job))["job"]["counts"]
        ended = len(runner.events("end"))
        if counts["ok"] != 24 or counts["retried"] or len(runner.events("start")) != ended:
            system.wrong.append(f"drain: {counts}, {len(runner.events('start'))} begun, {ended} ended")


async def zombie(system: System) -> None:
    """A runner is stopped until others have its sessions, and wakes: when does it let go of them?"""
    async with system.runner(600) as sleeper, system.runner(600, slots=8) as other:
        job = await system.submit(4, 4)
        await eventually(
            lambda: len(sleeper.events("start")) + len(other.events("start")) == 4, 20, what="sessions begun"
        )
        held = {e.session for e in sleeper.events("start")}
        sleeper.signal(signal.SIGSTOP)
        await eventually(
            lambda: held <= {e.session for e in other.events("start")},
            2 * system.lease + 20,
            what="its sessions run elsewhere",
        )
        sleeper.signal(signal.SIGCONT)
        began = clock()
        if held:
            cancelled = await sleeper.seen("cancel", len(held))
            system.took["zombie silent"] += [e.at - began for e in cancelled]
        await system.cancel(job)


async def _running(system: System, job: str) -> None:
    """The job makes progress, and a checkpoint of it is written."""

    async def some() -> bool:
        progress = (await system.ask("GET", f"/jobs/{job}"))["progress"]
        return bool(progress and progress["counts"]["ok"] > 20)

    await eventually(some, 30, what="the job runs")
    # Not always at the same point of the second in which the leader renews and saves.
    await asyncio.sleep(random.uniform(0, 1))


async def _all_answer(system: System) -> bool:
    async with httpx.AsyncClient(timeout=2) as http:
        for url in system.urls:
            try:
                if (await http.get(f"{url}/ready")).status_code != 200:
                    return False
            except httpx.HTTPError:
                return False
    return True


SCENARIOS: dict[str, Callable[[System], Awaitable[None]]] = {
    "lost-runner": lost_runner,
    "takeover": takeover,
    "broker-restart": broker_restart,
    "drain": drain,
    "zombie": zombie,
}


async def measure(names: list[str], rounds: int, lease: float) -> dict[str, Any]:
    """All scenarios, so many rounds each."""
    with tempfile.TemporaryDirectory(prefix="times-") as name:
        directory = Path(name)

        def unheard(told: object) -> None:
            """Deaths and lost connections are what this is about."""

        async with (
            EmbeddedServer(directory / "nats", max_deaths=10**6, on_event=unheard) as broker,
            connection.connected(broker.url, name="times", reconnect_wait=0.1, on_error=unheard) as nc,
            asyncio.TaskGroup() as group,
        ):
            system = System(directory, broker, lease, nc)
            tasks = [group.create_task(p.keep()) for p in system.orchestrators.values()]
            try:
                await eventually(lambda: _all_answer(system), 20, what="orchestrators answer")
                for scenario in names:
                    for n in range(rounds):
                        await SCENARIOS[scenario](system)
                        print(f"{scenario} {n + 1}/{rounds}", flush=True)
            finally:
                for task in tasks:
                    task.cancel()
    rows = {what: _summary(took, GOALS[what]) for what, took in system.took.items()}
    return {"lease": lease, "rounds": rounds, "times": rows, "wrong": system.wrong}


def _summary(took: list[float], goal: float | None) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 3),
        # Of few values the largest.
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3),
        "goal": goal,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(measure(args.only, args.rounds, args.lease))
    print(f"{'seconds':22} {'n':>4} {'p50':>8} {'p99':>8} {'goal':>6}")
    for what, row in result["times"].items():
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        print(f"{what:22} {row['n']:4} {row['p50']:8.3f} {row['p99']:8.3f} {goal:>6}")
    for line in result["wrong"]:
        print("WRONG", line)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    if result["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
