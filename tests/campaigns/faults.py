"""Random faults against a whole fleet, and an account of every session afterwards.

    python -m tests.campaigns.faults --seed 1 --faults 400 [--cluster 3] [--json out.json]

Real nats-server, two real orchestrators, three real runners with a timer in place of the browser. Processes
are killed (SIGKILL), stopped and continued (SIGSTOP, SIGCONT) at random, and kill themselves at named points:
before and after each publish, ack, renewal and checkpoint. The jobs are of all executors, some with a
fallback, a rate ceiling, a script, or a threshold that ends them; some are paused, resumed and cancelled on
their way. At the end every job must have finished with

    planned = ok + failed + cancelled + lost + dropped,  0 lost,  failed only what the page made fail,

the auditor must agree with REST on each, and every attempt that a record names must be in a runner's journal,
and the other way round. No session starts outside its time, and never do more run at once, or with a higher
share of the rate, than the job allows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from tests.campaigns import fault_account, fault_jobs
from tests.campaigns.process import Process
from tests.support.failpoints import ORCHESTRATOR_POINTS, RUNNER_POINTS
from tests.support.ports import free_ports

LEASE = 3.0
ORCHESTRATORS = 2
#: What each runner is started with beside the usual: what not all of them offer.
RUNNERS = (
    ("--platform", fault_jobs.CHROMIUM, "--platform", fault_jobs.FIREFOX),
    ("--platform", fault_jobs.CHROMIUM, "--allow-scripts"),
    ("--platform", fault_jobs.CHROMIUM, "--platform", fault_jobs.FIREFOX, "--allow-scripts"),
)
ACTIVE_JOBS = 3
COUNTED = (
    *("planned", "ok", "failed", "cancelled", "lost", "dropped"),
    *("superseded", "retried", "late"),
)

F = TypeVar("F", bound="Fleet")


class Fleet:
    def __init__(self, brokers: list[EmbeddedServer], directory: Path, replicas: int) -> None:
        self.brokers = brokers
        self.directory = directory
        nats = ",".join(b.url for b in brokers)
        self.urls = [f"http://127.0.0.1:{p}/api/v1" for p in free_ports(ORCHESTRATORS)]
        self.orchestrators = [
            Process(
                f"orchestrator{i}",
                "tests.support.orchestrator_process",
                [
                    *("--nats", nats, "--port", url.split(":")[2].split("/")[0], "--name", f"o{i}"),
                    *("--lease", str(LEASE), "--replicas", str(replicas)),
                ],
                directory,
            )
            for i, url in enumerate(self.urls, 1)
        ]
        #: Of the runners, by which they call themselves and their journals.
        self.names = [f"r{i}" for i in range(1, len(RUNNERS) + 1)]
        self.runners = self._runners(nats)

    def _runners(self, nats: str) -> list[Process]:
        return [
            Process(
                f"runner{name[1:]}",
                "tests.support.fault_runner",
                [
                    *("--nats", nats, "--name", name, "--data-dir", str(self.directory / name)),
                    *("--journal", str(self.directory / f"{name}.journal")),
                    *own,
                ],
                self.directory,
            )
            for name, own in zip(self.names, RUNNERS, strict=True)
        ]

    async def ask(self, method: str, path: str, within: float = 180.0, **options: Any) -> httpx.Response:
        """Ask whichever orchestrator answers."""
        end = time.monotonic() + within
        last: object = None
        async with httpx.AsyncClient(timeout=10) as http:
            while time.monotonic() < end:
                for url in random.sample(self.urls, len(self.urls)):
                    try:
                        answer = await http.request(method, url + path, **options)
                    except httpx.HTTPError as e:
                        last = e
                        continue
                    if answer.status_code < 500:
                        return answer
                    last = answer.text
                await asyncio.sleep(0.1)
        raise AssertionError(f"nobody answers {method} {path}: {last!r}")

    async def finished(self, job: str, within: float = 120.0) -> Any:
        """The view of the job, once it is finished."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            view = (await self.ask("GET", f"/jobs/{job}")).json()
            if view["job"]["state"] == "finished":
                return view
            await asyncio.sleep(0.1)
        raise AssertionError(f"{job} does not end: {json.dumps(view['progress'])[:600]}")

    async def sessions(self, job: str) -> list[Any]:
        """All records of the job."""
        rows: list[Any] = []
        cursor = None
        while True:
            query = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = (await self.ask("GET", f"/jobs/{job}/sessions", params=query)).json()
            rows += page["items"]
            cursor = page["next"]
            if cursor is None:
                return rows


@asynccontextmanager
async def fleet(directory: Path, nodes: int, kind: type[F]) -> AsyncIterator[F]:
    async with AsyncExitStack() as stack:
        if nodes == 1:
            brokers = [
                await stack.enter_async_context(
                    EmbeddedServer(directory / "nats", max_deaths=10**6, on_event=lambda _: None)
                )
            ]
        else:
            cluster = EmbeddedCluster(directory / "nats", max_deaths=10**6, on_event=lambda _: None)
            brokers = (await stack.enter_async_context(cluster)).nodes
        it = kind(brokers, directory, 1 if nodes == 1 else 3)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(p.keep()) for p in (*it.orchestrators, *it.runners)]
        try:
            yield it
        finally:
            for task in tasks:
                task.cancel()


class Campaign:
    def __init__(self, fleet: Fleet, seed: int, faults: int, pause: float) -> None:
        self.fleet = fleet
        self.rng = random.Random(seed)
        self.seed = seed
        self.faults = faults
        self.pause = pause
        self.done: Counter[str] = Counter()
        #: By job: its document, and the orders that were carried out.
        self.jobs: dict[str, tuple[dict[str, Any], list[str]]] = {}
        self._enough = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        began = time.monotonic()
        await self.fleet.ask("GET", "/ready")
        async with asyncio.TaskGroup() as group:
            submitters = [group.create_task(self._submit(n)) for n in range(ACTIVE_JOBS)]
            await self._strike(group)
            self._enough.set()
            await asyncio.wait(submitters)
        faulty = time.monotonic() - began
        # What was frozen goes on; what was killed is up again.
        result = await self._account()
        return result | {
            "seed": self.seed,
            "faults": sum(n for kind, n in self.done.items() if not kind.startswith("order")),
            "by_kind": dict(sorted(self.done.items())),
            "seconds": round(faulty, 1),
            "settled_after": round(time.monotonic() - began - faulty, 1),
        }

    async def _strike(self, group: asyncio.TaskGroup) -> None:
        rng = self.rng
        for _ in range(self.faults):
            await asyncio.sleep(rng.expovariate(1 / self.pause))
            # On a cluster the brokers are what it is about.
            weights = [30, 20, 35, 8, 7] if len(self.fleet.brokers) == 1 else [20, 15, 25, 25, 15]
            match rng.choices(["kill", "freeze", "point", "broker kill", "broker freeze"], weights)[0]:
                case "kill":
                    victim = self._victim()
                    victim.signal(signal.SIGKILL)
                    self.done[f"kill {_kind(victim)}"] += 1
                case "freeze":
                    victim = self._victim()
                    group.create_task(victim.freeze(rng.uniform(0.05, 1.5 * LEASE)))
                    self.done[f"freeze {_kind(victim)}"] += 1
                case "point":
                    victim = self._victim()
                    points = RUNNER_POINTS if _kind(victim) == "runner" else ORCHESTRATOR_POINTS
                    point = rng.choice(points)
                    victim.fail_at = f"{point}:{rng.randint(1, 20 if 'renewal' not in point else 2)}"
                    victim.signal(signal.SIGKILL)
                    self.done[f"point {point}"] += 1
                case "broker kill":
                    broker, what = await self._broker()
                    self._signal_broker(broker, signal.SIGKILL)
                    self.done[f"kill {what}"] += 1
                case "broker freeze":
                    broker, what = await self._broker()
                    group.create_task(self._freeze_broker(broker, rng.uniform(0.05, 3.0)))
                    self.done[f"freeze {what}"] += 1

    def _victim(self) -> Process:
        return self.rng.choice([*self.fleet.orchestrators, *self.fleet.runners])

    async def _broker(self) -> tuple[EmbeddedServer, str]:
        """The next broker to suffer: of a cluster, mostly the leader of one of the streams."""
        brokers = self.fleet.brokers
        stream = self.rng.choice(["PROGRESS", "DISPATCH", "KV_jobs", "KV_leadership", ""])
        chosen = self.rng.choice(brokers)
        if len(brokers) == 1 or not stream:
            return chosen, "broker"
        async with httpx.AsyncClient(timeout=1) as http:
            for broker in brokers:
                with suppress(httpx.HTTPError, ValueError, LookupError):
                    url = f"{broker.monitor_url}/jsz?accounts=true&streams=true"
                    (account,) = (await http.get(url)).json()["account_details"]
                    leaders = {s["name"]: s["cluster"]["leader"] for s in account["stream_detail"]}
                    number = int(leaders[stream].rpartition("-")[2])
                    return brokers[number - 1], f"leader of {stream}"
        return chosen, "broker"

    @staticmethod
    def _signal_broker(broker: EmbeddedServer, number: signal.Signals) -> None:
        if pid := broker.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _freeze_broker(self, broker: EmbeddedServer, seconds: float) -> None:
        self._signal_broker(broker, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal_broker(broker, signal.SIGCONT)

    async def _submit(self, n: int) -> None:
        """One job after the other, until the faults are over."""
        rng = random.Random(self.seed * 1000 + n)
        number = 0
        while not self._enough.is_set():
            number += 1
            document = fault_jobs.draw(rng, f"campaign {n}.{number}")
            # The key makes it one job, however often the answer is lost.
            key = {"Idempotency-Key": f"{self.seed}-{n}-{number}"}
            answer = await self.fleet.ask("POST", "/jobs", json=document, headers=key)
            assert answer.status_code in (200, 201), answer.text
            job = answer.json()["job"]["id"]
            self.jobs[job] = document, []
            await self._order(job, fault_jobs.orders(rng))
            while not self._enough.is_set():
                state = (await self.fleet.ask("GET", f"/jobs/{job}")).json()["job"]["state"]
                if state == "finished":
                    break
                await asyncio.sleep(0.2)

    async def _order(self, job: str, orders: list[fault_jobs.Order]) -> None:
        for order in orders:
            # The last resume is given whatever happens.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), order.after)
            answer = await self.fleet.ask("POST", f"/jobs/{job}/{order.command}")
            assert answer.status_code in (200, 409), answer.text
            if answer.status_code == 200:
                self.jobs[job][1].append(order.command)
                self.done[f"order {order.command}"] += 1

    async def _account(self) -> dict[str, Any]:
        totals: Counter[str] = Counter()
        wrong: list[str] = []
        executors: Counter[str] = Counter()
        frozen = {name: p.frozen for name, p in zip(self.fleet.names, self.fleet.runners, strict=True)}
        for job, (document, ordered) in self.jobs.items():
            view = (await self.fleet.finished(job))["job"]
            rows = await self.fleet.sessions(job)
            audit = (await self.fleet.ask("GET", f"/jobs/{job}/audit")).json()
            starts = fault_account.read_journals(self.fleet.directory)[job]
            wrong += fault_account.wrong(document, ordered, view, rows, audit, starts, frozen)
            totals.update({k: view["counts"][k] for k in COUNTED})
            executors[document["load"]["executor"]] += 1
        return {"jobs": len(self.jobs), "executors": dict(executors), **totals, "wrong": wrong}


def _kind(process: Process) -> str:
    return process.name.rstrip("0123456789")


async def campaign(
    seed: int, faults: int, *, pause: float = 0.35, nodes: int = 1, say: Any = print
) -> dict[str, Any]:
    """Run one campaign; its account. `wrong` is empty if every session is explained."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        async with fleet(Path(name), nodes, Fleet) as it:
            try:
                return await Campaign(it, seed, faults, pause).run()
            except BaseException:
                for log in sorted(Path(name).glob("*.log")):
                    say(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
                raise


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--faults", type=int, default=400, help="of each seed")
    parser.add_argument("--pause", type=float, default=0.35, help="mean seconds between faults")
    parser.add_argument("--cluster", type=int, default=1, help="broker nodes: 1 or 3")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    for seed in args.seed or [1]:
        result = asyncio.run(campaign(seed, args.faults, pause=args.pause, nodes=args.cluster))
        results.append(result)
        print(json.dumps({k: v for k, v in result.items() if k != "wrong"}), flush=True)
        for line in result["wrong"][:20]:
            print("WRONG", line, flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))
    if any(r["wrong"] for r in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
