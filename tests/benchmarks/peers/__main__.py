"""The same flow by this project and by its peers: sessions a second, CPU and memory.

    uv run python -m tests.benchmarks.peers [--rounds 5] [--sessions 40] [--at-once 1,2,4,8]
        [--only trafficbuster,playwright,locust,artillery,k6] [--keep DIR] [--json FILE]

The flow: a fresh context, a page of 256 KB, scroll twice, a click on a link to a second such page, close. All
use the same browser, without a rest anywhere. Peers are installed into a directory of their own (`--keep` one
for the next time); one that is not to be had is named, with the reason, and left out.

The site, which runs outside of what is measured, tells how far a peer is: after some sessions to warm up,
CPU and time are taken from one of its second pages to another one so many sessions later, while no session is
missing at either end. So neither a peer's start nor its end is counted. CPU is that of the whole process
tree, ended ones included; memory is PSS, at its highest. Each peer is tried at several numbers of sessions at
once (and beyond the last of them while that is the best), then all take turns, each at its best.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.browser import installer
from tests.benchmarks.two_pages import two_pages
from tests.support.site import Site, open_site

from .own import NAME, Own, up
from .peer import INSTALLERS, QUIET, NotInstalled, Peer, browser
from .tree import Tree, tree

MOST_AT_ONCE = 16
#: Seconds for the first session of a peer, and for each later one on a busy machine.
START_LIMIT = 60.0
SESSION_LIMIT = 10.0


@dataclass
class Sample:
    """One run. `first` is the time from the command to the first session's last step, seconds."""

    rate: float
    cpu: float
    memory: float
    first: float


class Failed(Exception):
    """A run came to nothing; the message says why."""


async def window(site: Site, of: Tree, warm: int, sessions: int) -> Sample:
    """Measure from the end of session `warm` to that of session `warm + sessions`."""
    began = time.monotonic()
    await _reached(site, of, 1, START_LIMIT)
    first = time.monotonic() - began
    await _reached(site, of, warm, SESSION_LIMIT * warm)
    cpu, start = of.cpu(), time.monotonic()
    highest = 0.0

    async def look() -> None:
        nonlocal highest
        while True:
            highest = max(highest, await asyncio.to_thread(of.memory))
            await asyncio.sleep(1.5)

    looking = asyncio.create_task(look())
    try:
        await _reached(site, of, warm + sessions, SESSION_LIMIT * sessions)
        wall = time.monotonic() - start
        spent = of.cpu() - cpu
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    return Sample(sessions / wall, spent / sessions, highest, first)


async def _reached(site: Site, of: Tree, sessions: int, limit: float) -> None:
    asked = asyncio.create_task(site.asked("/second", sessions, limit))
    watched = asyncio.create_task(of.ended())
    try:
        await asyncio.wait({asked, watched}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise Failed(f"it ended by itself:\n{of.words}")
        if asked.exception():
            raise Failed(f"{site.hits['/second']} of {sessions} sessions in {limit:g} s:\n{of.words}")
    finally:
        for task in (asked, watched):
            task.cancel()
        await asyncio.wait({asked, watched})


class Bench:
    """Runs one contestant once. `own` is this project's system, which stays up between its runs."""

    def __init__(self, site: Site, peers: dict[str, Peer], own: Own | None, directory: Path) -> None:
        self._site = site
        self._peers = peers
        self._own = own
        self._directory = directory

    async def run(self, name: str, at_once: int, sessions: int) -> Sample:
        """Raises `Failed`."""
        site, url = self._site, f"{self._site.url}/first"
        site.hits.clear()
        warm = max(4, 2 * at_once)
        if name == NAME:
            assert self._own is not None
            # As many again as run at once: so none is missing when the last one counts.
            await self._own.start(url, warm + sessions + at_once, at_once)
            sample = await window(site, self._own.tree, warm, sessions)
            if trouble := await self._own.finish():
                raise Failed(trouble)
            return sample
        peer = self._peers[name]
        environ = {"PEER_URL": url, "PEER_AT_ONCE": str(at_once), "PEER_BROWSER": browser()}
        log, home = self._directory / f"{name}.log", self._directory / "home"
        home.mkdir(exist_ok=True)
        command = peer.command(url, at_once)
        async with tree(command, log, QUIET | peer.environ | environ, home) as whole:
            sample = await window(site, whole, warm, sessions)
            open_now = site.hits["/first"] - site.hits["/second"]
        if open_now > at_once + 1:
            raise Failed(f"{open_now} sessions never came to the second page:\n{whole.words}")
        return sample


async def install(wanted: list[str], directory: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that are to be had, and why the others are not."""
    peers, missing = {}, {}
    for name in wanted:
        if name != NAME:
            print(f"installing {name} …", flush=True)
            try:
                peers[name] = await INSTALLERS[name](directory)
            except NotInstalled as e:
                missing[name] = str(e)
                print(f"  not to be had: {e}", flush=True)
    return peers, missing


async def sweep(bench: Bench, name: str, at_once: list[int], sessions: int) -> dict[int, Sample]:
    """A run at each number of sessions at once, and beyond the last one while that is the best."""
    out: dict[int, Sample] = {}
    todo = list(at_once)
    while todo:
        n = todo.pop(0)
        out[n] = await bench.run(name, n, max(sessions, 2 * n))
        print(f"{name:14} {n:2} at once: {out[n].rate:6.2f}/s {out[n].cpu:7.3f} CPU-s", flush=True)
        if not todo and n == best(out) and 2 * n <= MOST_AT_ONCE and len(at_once) > 1 and name != NAME:
            todo.append(2 * n)
    return out


def best(samples: dict[int, Sample]) -> int:
    return max(samples, key=lambda n: samples[n].rate)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    await installer.ensure(["chromium"], print)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        kept = options.keep or scratch / "installed"
        kept.mkdir(parents=True, exist_ok=True)
        peers, missing = await install(options.only, kept.resolve())
        site = await stack.enter_async_context(open_site())
        site.pages |= two_pages()
        own = None
        if NAME in options.only:
            own = await stack.enter_async_context(up(scratch / "own", max(options.at_once)))
        bench = Bench(site, peers, own, scratch)
        names = [n for n in options.only if n not in missing]
        swept: dict[str, dict[int, Sample]] = {}
        samples: dict[str, list[Sample]] = {}
        failed: dict[str, str] = {}
        for name in names:
            try:
                swept[name] = await sweep(bench, name, options.at_once, options.sweep_sessions)
            except Failed as e:
                failed[name] = str(e)
                print(f"{name} failed: {e}", flush=True)
        for n in range(options.rounds):
            running = [name for name in names if name not in failed]
            for name in running if n % 2 else reversed(running):
                try:
                    sample = await bench.run(name, best(swept[name]), options.sessions)
                except Failed as e:
                    failed[name] = str(e)
                    print(f"{name} failed: {e}", flush=True)
                else:
                    samples.setdefault(name, []).append(sample)
    results = {name: summary(samples[name], swept[name]) for name in names if name in samples}
    for name, result in results.items():
        result["version"] = peers[name].version if name in peers else "this"
    base = results.get("playwright")
    for result in results.values():
        if base:
            result["cpu_x"] = round(result["cpu_s_per_session"] / base["cpu_s_per_session"], 3)
    return {
        "rounds": options.rounds,
        "sessions": options.sessions,
        "results": results,
        "not_installed": missing,
        "failed": failed,
    }


def summary(samples: list[Sample], swept: dict[int, Sample]) -> dict[str, Any]:
    return {
        "at_once": best(swept),
        "sessions_per_s": round(statistics.median(s.rate for s in samples), 3),
        "cpu_s_per_session": round(statistics.median(s.cpu for s in samples), 4),
        "memory_mib": round(statistics.median(s.memory for s in samples)),
        "first_session_s": round(statistics.median(s.first for s in samples), 2),
        "rates": [round(s.rate, 3) for s in samples],
        "cpus": [round(s.cpu, 4) for s in samples],
        "swept": {str(n): [round(s.rate, 3), round(s.cpu, 4), round(s.memory)] for n, s in swept.items()},
    }


def table(result: dict[str, Any]) -> str:
    head = f"{'':14} {'version':>9} {'at once':>8} {'sessions/s':>11} {'CPU-s/session':>14}"
    rows = [f"{head} {'x Playwright':>13} {'MiB':>6} {'first, s':>9}"]
    for name, r in sorted(result["results"].items(), key=lambda kv: -kv[1]["sessions_per_s"]):
        rows.append(
            f"{name:14} {r['version']:>9} {r['at_once']:8} {r['sessions_per_s']:11.2f}"
            f" {r['cpu_s_per_session']:14.3f} {r.get('cpu_x', float('nan')):13.2f} {r['memory_mib']:6}"
            f" {r['first_session_s']:9.1f}"
        )
    rows += [f"{name:14} not to be had: {why}" for name, why in result["not_installed"].items()]
    rows += [f"{name:14} failed: {why.splitlines()[0]}" for name, why in result["failed"].items()]
    return "\n".join(rows)


def main() -> None:
    everyone = [NAME, *INSTALLERS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=40, help="counted in a run")
    parser.add_argument("--sweep-sessions", type=int, default=20)
    parser.add_argument("--at-once", type=lambda s: [int(n) for n in s.split(",")], default=[1, 2, 4, 8])
    parser.add_argument("--only", type=lambda s: s.split(","), default=everyone)
    parser.add_argument("--keep", type=Path, help="where the peers are, or will be, installed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.only) - set(everyone):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(everyone)}")
    result = asyncio.run(measure(options))
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
