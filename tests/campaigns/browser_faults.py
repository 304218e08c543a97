"""Random faults against real browsers, on a site that itself counts what it is asked for.

    python -m tests.campaigns.browser_faults --seed 1 --faults 50 [--json out.json]

Real nats-server, two orchestrators, two runners as shipped with real Chromium on the demo shop. Runners,
browsers, Playwright's drivers, orchestrators and the broker are killed, or stopped and continued. Afterwards
every job must account for each session once, every request that the shop has seen must belong to an attempt
that is accounted for, every session that is ok must have asked for its page, and neither a process nor a
temporary file of a browser may be left once a runner has been started again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import psutil

from cli.demo_shop import create_shop
from orchestrator.web.server import WebServer
from runner.browser.processes import MARK
from tests.campaigns.faults import LEASE, Fleet, fleet
from tests.campaigns.process import Process
from tests.support.waiting import eventually

RUNNERS = 2
SLOTS = 2
_AGENT = re.compile(r"\(job=(.+); session=(\d+); attempt=(\d+)\)")
#: A browser that is stopped in the middle of a session may exceed the session's own limits: a result.
_SLOW = {"session_timeout", "navigation_timeout"}

_START = """
import asyncio
from runner.browser.executor import BrowserExecutor

async def main():
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    await executor.close()

asyncio.run(main())
"""


class BrowserFleet(Fleet):
    """Its browsers have a directory for temporary files of their own, by which they are known."""

    def _runners(self, nats: str) -> list[Process]:
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        return [
            Process(
                f"runner{i}",
                "cli.tb_runner",
                [
                    *(
                        "start",
                        "--nats",
                        nats,
                        "--name",
                        f"r{i}",
                        "--data-dir",
                        str(self.directory / f"r{i}"),
                    ),
                    *("--slots", str(SLOTS), "--browser", "chromium"),
                ],
                self.directory,
                {"TMPDIR": str(self.temporary)},
            )
            for i in range(1, RUNNERS + 1)
        ]

    def driver(self, runner: Process) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(runner.pid).children() if runner.pid else []:
                if "run-driver" in child.cmdline():
                    return child
        return None

    def browser(self, runner: Process) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error):
            driver = self.driver(runner)
            for child in driver.children() if driver else []:
                if any(a.startswith(MARK) for a in child.cmdline()):
                    return child
        return None

    def left(self) -> list[psutil.Process]:
        """Drivers, browsers and their helpers that run."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("TMPDIR", "").startswith(f"{self.temporary}/"):
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
                elif any(str(self.temporary) in a for a in process.cmdline()):
                    found.append(process)
        return found


class Campaign:
    def __init__(self, fleet: BrowserFleet, shop: str, seed: int, faults: int, pause: float) -> None:
        self.fleet = fleet
        self.shop = shop
        self.rng = random.Random(seed)
        self.seed = seed
        self.faults = faults
        self.pause = pause
        self.done: Counter[str] = Counter()
        self.jobs: dict[str, int] = {}
        self._enough = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        await self.fleet.ask("GET", "/ready")
        await eventually(self._online, 60, what="runners online", interval=0.2)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            submitter = group.create_task(self._submit())
            await self._strike(group)
            self._enough.set()
            await submitter
        return {
            "seed": self.seed,
            "faults": sum(self.done.values()),
            "by_kind": dict(sorted(self.done.items())),
            "seconds": round(time.monotonic() - began, 1),
        }

    async def _online(self) -> bool:
        items = (await self.fleet.ask("GET", "/runners")).json()["items"]
        return len([r for r in items if r["state"] == "online"]) == RUNNERS

    async def _strike(self, group: asyncio.TaskGroup) -> None:
        """Kill or stop one thing after the other; what does not run just now is not a fault."""
        kinds = {"runner": 20, "browser": 30, "driver": 25, "orchestrator": 15, "broker": 10}
        while sum(self.done.values()) < self.faults:
            await asyncio.sleep(self.rng.expovariate(1 / self.pause))
            (kind,) = self.rng.choices(list(kinds), list(kinds.values()))
            kill = self.rng.random() < 0.6
            seconds = self.rng.uniform(0.05, 1.5 * LEASE)
            victim = self._victim(kind)
            if victim is None:
                continue
            with contextlib.suppress(psutil.Error):
                if kill:
                    victim.send_signal(signal.SIGKILL)
                else:
                    victim.send_signal(signal.SIGSTOP)
                    group.create_task(_wake(victim, seconds))
                self.done[f"{'kill' if kill else 'stop'} {kind}"] += 1

    def _victim(self, kind: str) -> psutil.Process | None:
        it = self.fleet
        runner = self.rng.choice(it.runners)
        orchestrator = self.rng.choice(it.orchestrators)
        match kind:
            case "browser":
                return it.browser(runner)
            case "driver":
                return it.driver(runner)
        pid = {"runner": runner.pid, "orchestrator": orchestrator.pid, "broker": it.brokers[0].pid}[kind]
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid) if pid else None
        return None

    async def _submit(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            sessions = self.rng.randint(20, 40)
            document = {
                "name": f"campaign {number}",
                "targets": [{"url": f"{self.shop}/"}, {"url": f"{self.shop}/shop"}],
                "sessions": sessions,
                "load": {"executor": "shared-sessions", "vus": RUNNERS * SLOTS},
                "behaviour": {"dwell": "100ms-500ms"},
                # A browser dies with all its sessions, several times in a row if need be.
                "retries": 8,
                "seed": number,
            }
            key = {"Idempotency-Key": f"{self.seed}-{number}"}
            answer = await self.fleet.ask("POST", "/jobs", json=document, headers=key)
            assert answer.status_code in (200, 201), answer.text
            job = answer.json()["job"]["id"]
            self.jobs[job] = sessions
            while not self._enough.is_set():
                if (await self.fleet.ask("GET", f"/jobs/{job}")).json()["job"]["state"] == "finished":
                    break
                await asyncio.sleep(0.2)

    async def account(self, hits: dict[str, dict[tuple[int, int], int]]) -> dict[str, Any]:
        """`hits` are the shop's requests by job and `(session, attempt)`."""
        totals: Counter[str] = Counter()
        wrong: list[str] = []
        for job, sessions in self.jobs.items():
            counts = (await self.fleet.finished(job))["job"]["counts"]
            ended = sum(counts[k] for k in ("ok", "failed", "cancelled", "lost", "dropped"))
            if not counts["planned"] == ended == sessions or counts["lost"] or counts["cancelled"]:
                wrong.append(f"{job}: planned {sessions}, {counts}")
            for kind in ("ok", "failed", "lost", "superseded", "retried"):
                totals[kind] += counts[kind]
            audit = (await self.fleet.ask("GET", f"/jobs/{job}/audit")).json()
            if not audit["agrees"]:
                wrong.append(f"{job}: the auditor differs: {audit['found']} {audit['findings'][:3]}")
            wrong += _explained(job, await self.fleet.sessions(job), hits.get(job, {}))
        if foreign := set(hits) - set(self.jobs):
            wrong.append(f"requests of unknown jobs: {sorted(foreign)}")
        requests = sum(sum(h.values()) for h in hits.values())
        return (
            {"jobs": len(self.jobs), "sessions": sum(self.jobs.values()), "requests": requests}
            | totals
            | {"wrong": wrong}
        )


async def _wake(process: psutil.Process, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)


def _explained(job: str, rows: list[Any], hits: dict[tuple[int, int], int]) -> list[str]:
    """What the site has seen of the job against what its records say."""
    wrong = []
    counted: dict[int, Any] = {}
    recorded = {(r["session"], r["attempt"]) for r in rows}
    for r in rows:
        if r["counted"]:
            if r["session"] in counted:
                wrong.append(f"{job}: session {r['session']} counts twice")
            counted[r["session"]] = r
    for r in counted.values():
        if r["status"] == "ok" and not hits.get((r["session"], r["attempt"])):
            wrong.append(f"{job}: session {r['session']}.{r['attempt']} is ok and was never at the site")
        if r["status"] == "failed" and r["error"]["kind"] not in _SLOW:
            wrong.append(f"{job}: session {r['session']}.{r['attempt']} failed: {r['error']}")
    for session, attempt in hits:
        known = counted.get(session)
        if known is None or (attempt > known["attempt"] and (session, attempt) not in recorded):
            wrong.append(f"{job}: the site saw {session}.{attempt}, the counted record is {known}")
    return wrong


def _hits(agents: dict[str, int]) -> dict[str, dict[tuple[int, int], int]]:
    hits: dict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    for agent, n in agents.items():
        match = _AGENT.fullmatch(agent)
        assert match is not None, agent
        hits[match[1]][int(match[2]), int(match[3])] = n
    return hits


async def _cleared(it: BrowserFleet) -> list[str]:
    """What is left of browsers when all runners are dead; of their files, when a runner starts again."""
    wrong = []
    try:
        await eventually(lambda: not it.left(), 20, what="browsers have ended", interval=0.2)
    except AssertionError:
        wrong += [f"left behind: {p}" for p in it.left()]
    start = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START, env={**os.environ, "TMPDIR": str(it.temporary)}
    )
    if await start.wait():
        wrong.append("no runner starts afterwards")
    wrong += [f"left behind: {p}" for p in it.left()]
    wrong += [f"left behind: {p.name}" for p in it.temporary.iterdir()]
    return wrong


async def campaign(seed: int, faults: int, *, pause: float = 0.8, say: Any = print) -> dict[str, Any]:
    """Run one campaign; its account. `wrong` is empty if every session and request is explained."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        shop = create_shop()
        async with WebServer(shop, host="127.0.0.1", port=0) as site:
            try:
                async with fleet(Path(name), 1, BrowserFleet) as it:
                    run = Campaign(it, site.url, seed, faults, pause)
                    result = await run.run()
                    for job in run.jobs:
                        await it.finished(job)
                    agents = (await _stats(site.url))["agents"]
                    result |= await run.account(_hits(agents))
                result["wrong"] += await _cleared(it)
            except BaseException:
                for log in sorted(Path(name).glob("*.log")):
                    say(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
                raise
            if result["wrong"]:
                for log in sorted(Path(name).glob("*.log")):
                    say(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
    return result


async def _stats(url: str) -> Any:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{url}/_stats")).json()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.8, help="mean seconds between faults")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(campaign(args.seed, args.faults, pause=args.pause))
    print(json.dumps({k: v for k, v in result.items() if k != "wrong"}), flush=True)
    for line in result["wrong"][:20]:
        print("WRONG", line, flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    if result["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
