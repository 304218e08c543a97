"""Thousands of real sessions on one runner: does it grow?

    uv run python -m tests.campaigns.soak [--sessions 2000] [--slots 4] [--json FILE]

One real runner process as shipped, Chromium, the demo shop. Memory is PSS (what is shared counts in parts) of
the runner and of its whole browser tree (driver, browser, helpers); with it open files and processes: before
the first session, while they run, and after the last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from broker_config.embedded_server import EmbeddedServer
from cli.demo_shop import create_shop
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from orchestrator.web.server import WebServer
from tests.campaigns.process import Process
from tests.support.waiting import eventually

#: Seconds between looks.
EVERY = 2.0
#: Seconds that the runner has to come to rest before and after.
REST = 5.0
MIB = 1 << 20


def look(pid: int, done: int) -> dict[str, float]:
    """One look at the runner and at all below it; sizes in MiB."""
    runner = psutil.Process(pid)
    tree = runner.children(recursive=True)
    row = {"done": float(done), "processes": float(len(tree)), "runner": _pss(runner), "browser": 0.0}
    row["runner_files"], row["browser_files"] = float(runner.num_fds()), 0.0
    for process in tree:
        with contextlib.suppress(psutil.Error):
            row["browser"] += _pss(process)
            row["browser_files"] += process.num_fds()
    return {k: round(v, 1) for k, v in row.items()}


def _pss(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / MIB


async def soak(sessions: int, slots: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = Path(name)
        temporary = directory / "tmp"
        temporary.mkdir()
        async with (
            EmbeddedServer(directory / "nats") as broker,
            Orchestrator(
                OrchestratorConfig(nats=broker.url, port=0, name="soak", anonymous="admin")
            ) as orchestrator,
            WebServer(create_shop(), host="127.0.0.1", port=0) as shop,
            asyncio.TaskGroup() as group,
        ):
            runner = Process(
                "runner",
                "cli.tb_runner",
                [
                    *("start", "--nats", broker.url, "--name", "soak", "--data-dir", str(directory / "r")),
                    *("--slots", str(slots), "--browser", "chromium"),
                ],
                directory,
                {"TMPDIR": str(temporary)},
            )
            keeping = group.create_task(runner.keep())
            try:
                await eventually(orchestrator.fleet.platforms, 60, what="the runner is online")
                await asyncio.sleep(REST)
                pid = runner.pid
                before = look(pid, 0)
                result = await _run(orchestrator, shop.url, sessions, slots, pid)
                await asyncio.sleep(REST)
                after = look(pid, sessions)
                files = sum(1 for _ in temporary.rglob("*"))
                if runner.starts != 1:
                    result["wrong"].append(f"the runner was started {runner.starts} times")
            finally:
                keeping.cancel()
    return {"sessions": sessions, "slots": slots, "before": before, **result, "after": after} | {
        "temporary_files": files
    }


async def _run(orchestrator: Orchestrator, shop: str, sessions: int, slots: int, pid: int) -> dict[str, Any]:
    import httpx

    async with httpx.AsyncClient(base_url=f"{orchestrator.url}/api/v1", timeout=30) as http:
        document = {
            "name": "soak",
            "targets": [{"url": f"{shop}/"}, {"url": f"{shop}/shop"}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": slots},
            "behaviour": {"dwell": "50ms-250ms"},
        }
        answer = await http.post("/jobs", json=document)
        answer.raise_for_status()
        job = answer.json()["job"]["id"]
        began = time.monotonic()
        rows: list[dict[str, float]] = []
        while True:
            await asyncio.sleep(EVERY)
            view = (await http.get(f"/jobs/{job}")).json()
            progress = view["progress"]
            counts = progress["counts"] if progress else view["job"]["counts"]
            done = counts["ok"] + counts["failed"] + counts["lost"]
            if view["job"]["state"] == "finished":
                break
            rows.append(await asyncio.to_thread(look, pid, done))
            if len(rows) % 15 == 0:
                print(json.dumps(rows[-1]), flush=True)
        seconds = time.monotonic() - began
        counts = view["job"]["counts"]
        wrong = [] if counts["ok"] == sessions else [f"not all are ok: {counts}"]
        quarter = max(1, len(rows) // 4)
        return {
            "seconds": round(seconds, 1),
            "rate": round(sessions / seconds, 2),
            "first_quarter": _median(rows[:quarter]),
            "last_quarter": _median(rows[-quarter:]),
            "most": {k: max(r[k] for r in rows) for k in rows[0]},
            "wrong": wrong,
        }


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {k: round(statistics.median(r[k] for r in rows), 1) for k in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(soak(args.sessions, args.slots))
    columns = ("before", "first_quarter", "last_quarter", "most", "after")
    print(f"{args.sessions} sessions in {result['seconds']} s, {result['rate']}/s")
    print(f"{'':16}" + "".join(f"{c.replace('_', ' '):>14}" for c in columns))
    names = {
        "runner": "runner, MiB",
        "browser": "browsers, MiB",
        "processes": "processes",
        "runner_files": "runner's files",
        "browser_files": "browsers' files",
    }
    for key, words in names.items():
        print(f"{words:16}" + "".join(f"{result[c][key]:14.1f}" for c in columns))
    print(f"temporary files at the end: {result['temporary_files']}")
    for line in result["wrong"]:
        print("WRONG", line)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    if result["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
