"""An open model on real browsers: how punctual sessions start, and what becomes of those that cannot.

    uv run python -m tests.benchmarks.arrival [--rate 2] [--seconds 60] [--too-much 20] [--short 20]

Two loads with Chromium on the demo shop, each on a system of its own (`tb up`): one that this machine holds,
and one that it cannot, with 2 slots. Of both the numbers must sum up: each planned session is ok, failed or
dropped, and none is late by more than the limit. The shop itself says which sessions came: those that were
dropped must not be among them, all others must.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from broker_config.load import LATE_MS
from cli.demo_shop import create_shop
from orchestrator.web.server import WebServer
from runner.browser import installer
from tests.support.job_records import job_records
from tests.support.ports import free_ports
from tests.support.waiting import eventually

from .peers.tree import Tree, tree

_AGENT = re.compile(r"\(job=(.+); session=(\d+); attempt=(\d+)\)")
LATE_LIMIT = 2.0
#: A clock is read, a task woken: what a start may be beyond the limit, ms.
TOLERANCE = 50.0
ENDED = ("ok", "failed", "cancelled", "lost", "dropped")


async def run(rate: float, seconds: float, slots: int) -> dict[str, Any]:
    """One load on a fresh system."""
    with tempfile.TemporaryDirectory(prefix="arrival-") as name:
        web, nats = free_ports(2)
        command = [
            *(sys.executable, "-m", "cli.tb", "--log-level", "warning", "up", "--browser", "chromium"),
            *("--anonymous", "admin"),
            *("--data-dir", name, "--slots", str(slots), "--port", str(web), "--nats-port", str(nats)),
        ]
        api = f"http://127.0.0.1:{web}/api/v1"
        async with (
            WebServer(create_shop(), host="127.0.0.1", port=0) as shop,
            tree(command, Path(name) / "up.log", {}) as system,
            httpx.AsyncClient(base_url=api, timeout=30, trust_env=False) as http,
        ):
            await _ready(system, http)
            document = {
                "name": f"{rate:g} a second",
                "targets": [{"url": f"{shop.url}/"}],
                "load": {
                    "executor": "constant-arrival-rate",
                    "rate": rate,
                    "duration": f"{seconds:g}s",
                    "late_limit": f"{LATE_LIMIT:g}s",
                },
                "behaviour": {"scroll": False},
            }
            answer = await http.post("/jobs", json=document)
            if answer.is_error:
                raise SystemExit(f"the job was refused: {answer.text}")
            job = await _finished(http, answer.json()["job"]["id"], seconds + 90)
            records, _ = await job_records(f"nats://127.0.0.1:{nats}", job["id"])
            audit = (await http.get(f"/jobs/{job['id']}/audit")).json()
            stats = (await http.get(f"{shop.url}/_stats")).json()
    return judged(rate, seconds, slots, job, records, stats["agents"], agrees=audit["agrees"])


async def _ready(system: Tree, http: httpx.AsyncClient) -> None:
    async def offered() -> bool:
        if not system.runs:
            raise SystemExit(f"tb up has ended:\n{system.words}")
        try:
            answer = await http.get("/runners/available-platforms")
        except httpx.HTTPError:
            return False
        return bool(answer.json()["items"])

    await eventually(offered, 60, what="a runner is online", interval=0.2)


async def _finished(http: httpx.AsyncClient, id: str, within: float) -> dict[str, Any]:
    async def over() -> Any:
        job = (await http.get(f"/jobs/{id}")).json()["job"]
        return job if job["state"] == "finished" else None

    job: dict[str, Any] = await eventually(over, within, what="the job is finished", interval=1.0)
    return job


def judged(
    rate: float,
    seconds: float,
    slots: int,
    job: dict[str, Any],
    records: list[dict[str, Any]],
    agents: dict[str, int],
    *,
    agrees: bool,
) -> dict[str, Any]:
    """The figures, and under `wrong` what does not sum up."""
    counts = job["counts"]
    first: dict[int, dict[str, Any]] = {}
    for record in records:
        first.setdefault(record["session"], record)
    started = {n for n, r in first.items() if r["status"] != "dropped"}
    errors = sorted(first[n]["start_error_ms"] for n in started if "start_error_ms" in first[n])
    seen = {int(found[2]) for agent in agents if (found := _AGENT.search(agent)) and found[1] == job["id"]}
    late = sum(e > LATE_MS for e in errors)
    wrong = []
    if counts["planned"] != math.floor(rate * seconds):
        wrong.append(f"{counts['planned']} sessions planned, not {math.floor(rate * seconds)}")
    if sum(counts[name] for name in ENDED) != counts["planned"]:
        wrong.append(f"the numbers do not sum up: {counts}")
    if counts["failed"] or counts["lost"] or counts["cancelled"]:
        wrong.append(f"sessions that are neither ok nor dropped: {counts}")
    if len(errors) != len(started):
        wrong.append(f"{len(started)} sessions started, {len(errors)} of them tell how late")
    if counts["late"] != late:
        wrong.append(f"{counts['late']} counted as late, {late} by their records")
    if errors and errors[-1] > 1000 * LATE_LIMIT + TOLERANCE:
        wrong.append(f"a session started {errors[-1]:.0f} ms too late, and was not dropped")
    if seen != started:
        wrong.append(
            f"at the shop, but not started: {sorted(seen - started)}; the reverse: {sorted(started - seen)}"
        )
    if len(started) + counts["dropped"] != counts["planned"]:
        wrong.append(f"{len(started)} started and {counts['dropped']} dropped, of {counts['planned']}")
    if not agrees:
        wrong.append("the audit does not agree")
    return {
        "rate": rate,
        "seconds": seconds,
        "slots": slots,
        "planned": counts["planned"],
        **{name: counts[name] for name in ENDED},
        "on_time": len(errors) - late,
        "late": late,
        "seen_by_the_shop": len(seen),
        "start_error_ms": {
            "p50": _quantile(errors, 0.5),
            "p99": _quantile(errors, 0.99),
            "max": _quantile(errors, 1.0),
        },
        "wrong": wrong,
    }


def _quantile(ordered: list[float], q: float) -> float | None:
    """Nearest rank."""
    return round(ordered[max(0, math.ceil(q * len(ordered)) - 1)], 2) if ordered else None


def table(results: list[dict[str, Any]]) -> str:
    columns = ("planned", "ok", "failed", "dropped", "on_time", "late")
    head = f"{'load':22}" + "".join(f"{c.replace('_', ' '):>9}" for c in columns)
    rows = [f"{head}   start error p50, p99, most"]
    for r in results:
        load = f"{r['rate']:g}/s, {r['seconds']:g} s, {r['slots']} slots"
        times = ", ".join(
            "–" if r["start_error_ms"][k] is None else f"{r['start_error_ms'][k]:.1f}"
            for k in ("p50", "p99", "max")
        )
        rows.append(f"{load:22}" + "".join(f"{r[c]:9}" for c in columns) + f"   {times} ms")
    return "\n".join(rows)


async def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    await installer.ensure(["chromium"], print)
    return [
        await run(options.rate, options.seconds, options.slots),
        await run(options.too_much, options.short, options.few),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=2, help="that the machine holds, sessions a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--too-much", type=float, default=20, help="that it cannot hold")
    parser.add_argument("--short", type=float, default=20, help="for so many seconds")
    parser.add_argument("--few", type=int, default=2, help="slots for that")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = asyncio.run(measure(options))
    print(table(results))
    wrong = [f"{r['rate']:g}/s: {line}" for r in results for line in r["wrong"]]
    for line in wrong:
        print("WRONG", line)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
