"""What a session costs: CPU-seconds of the whole process tree, against a bare Playwright loop.

Both do the same work on the same site at the same concurrency: a fresh context, the page, the same scroll
steps with the same rests, close. They take turns, round by round, so that the machine's moods hit both.

    uv run python -m tests.benchmarks.session_cost [--rounds 6] [--sessions 24] [--concurrency 4]

With `--variants`, ways of making a session cheaper are compared instead, each with the first one that is
named (see `session_variants`; `all` takes all of them):

    uv run python -m tests.benchmarks.session_cost --variants mouse,window,two [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from broker_config.behaviour import Behaviour
from broker_config.duration_range import DurationRange
from broker_config.messages import Dispatch
from broker_config.platform import this_system
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed
from runner.browser.launch import launch_options
from runner.core.behaviour import MAX_STEPS, plan_behaviour
from tests.benchmarks.two_pages import two_pages
from tests.support.site import open_site

BEHAVIOUR = Behaviour(dwell=DurationRange(0.0, 0.0))
SCROLL = """async ({look, steps, most}) => {
  const sleep = ms => new Promise(done => setTimeout(done, ms));
  await sleep(look);
  const page = document.scrollingElement;
  for (let i = 0; i < most && page.scrollTop + innerHeight < page.scrollHeight - 1; i++) {
    const [share, rest] = steps[i % steps.length];
    page.scrollBy({top: innerHeight * share, behavior: 'instant'});
    await sleep(rest);
  }
}"""


class Executor:
    """The sessions of a runner."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._executor = BrowserExecutor(["chromium"], say=lambda text: None)

    async def start(self) -> None:
        await self._executor.start()

    async def session(self, number: int) -> None:
        dispatch = Dispatch(
            job="bench",
            session=number,
            platform=f"{this_system()}-chromium",
            target="t",
            url=self._url,
            seed=number,
            behaviour=BEHAVIOUR,
        )
        outcome = await self._executor.run(dispatch, lambda event, text: None)
        if outcome.status != "ok":
            raise SystemExit(f"a session failed: {outcome.error}")


class Bare:
    """Playwright and nothing else."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def start(self) -> None:
        from playwright.async_api import async_playwright

        found = installed(["chromium"])[0]
        playwright = await async_playwright().start()
        self._browser = await playwright.chromium.launch(
            executable_path=found.path,
            chromium_sandbox=launch_options(found, "", "", 30)["chromium_sandbox"],
        )

    async def session(self, number: int) -> None:
        plan = plan_behaviour(BEHAVIOUR, number).pages[0]
        context = await self._browser.new_context()
        page = await context.new_page()
        response = await page.goto(self._url, wait_until="load")
        if response is None or not response.ok:
            raise SystemExit("a session failed")
        steps = [[s.share, s.rest * 1000] for s in plan.steps]
        await page.evaluate(SCROLL, {"look": plan.look * 1000, "steps": steps, "most": MAX_STEPS})
        await context.close()


async def work(kind: str, url: str, concurrency: int) -> None:
    """A worker: for each line on stdin, that many sessions; then a line on stdout."""
    from .session_variants import VARIANTS

    worker = ({"executor": Executor, "bare": Bare} | VARIANTS)[kind](url)
    await worker.start()
    print("ready", flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        todo = iter(range(number, number + int(line)))
        number += int(line)

        async def slot(todo: object = todo) -> None:
            for n in todo:  # type: ignore[attr-defined]
                await worker.session(n)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(slot())
        print("done", flush=True)
    os._exit(0)  # the driver ends with us, the browser with the driver


def tree_cpu(root: int) -> float:
    """CPU-seconds of a process and all below it, ended and collected ones included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            parents[int(folder.name)] = int(fields[1])
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    inside = {root}
    while more := {p for p, parent in parents.items() if parent in inside} - inside:
        inside |= more
    return sum(ticks.get(p, 0) for p in inside) / os.sysconf("SC_CLK_TCK")


async def measure(
    kinds: list[str], url: str, options: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """By kind, `(CPU-seconds a session, sessions a second)` of each round; the rounds belong together."""
    workers: dict[str, asyncio.subprocess.Process] = {}
    samples: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="session-cost-") as scratch:
        try:
            for kind in kinds:
                workers[kind] = worker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.benchmarks.session_cost", f"--worker={kind}"),
                    *(f"--url={url}", f"--concurrency={options.concurrency}"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=os.environ | {"TMPDIR": scratch},
                )
                await _line(worker, b"ready")
            for n in range(options.rounds + 1):  # the first warms up
                for kind in kinds if n % 2 else reversed(kinds):
                    worker = workers[kind]
                    cpu, began = tree_cpu(worker.pid), time.monotonic()
                    worker.stdin.write(f"{options.sessions}\n".encode())  # type: ignore[union-attr]
                    await _line(worker, b"done")
                    if n:
                        wall = time.monotonic() - began
                        spent = tree_cpu(worker.pid) - cpu
                        samples[kind].append((spent / options.sessions, options.sessions / wall))
        finally:
            for worker in workers.values():
                worker.stdin.close()  # type: ignore[union-attr]
                await worker.wait()
    return samples


def compared(samples: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, object]]:
    """Medians, and each kind's ratios to the first one: the median of the pairs and their quartiles."""
    base = next(iter(samples.values()))
    out: dict[str, dict[str, object]] = {}
    for kind, rounds in samples.items():
        ratios = sorted(mine[0] / its[0] for mine, its in zip(rounds, base, strict=True))
        out[kind] = {
            "cpu_s_per_session": round(statistics.median(c for c, _ in rounds), 4),
            "sessions_per_s": round(statistics.median(r for _, r in rounds), 3),
            "cpu_x": round(statistics.median(ratios), 3),
            "cpu_x_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[-1 - len(ratios) // 4], 3)],
            "rate_x": round(statistics.median(m[1] / b[1] for m, b in zip(rounds, base, strict=True)), 3),
        }
    return out


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--path", default="/rich")
    parser.add_argument("--variants", type=lambda text: text.split(","))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        await work(options.worker, options.url, options.concurrency)
        return
    # Orphaned grandchildren come to us, not to init.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    async with open_site() as site:
        if options.variants:
            site.pages |= two_pages()
            result: dict[str, object] = dict(await variants(options, f"{site.url}/first"))
        else:
            result = await against_bare(options, f"{site.url}{options.path}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


async def variants(options: argparse.Namespace, url: str) -> dict[str, dict[str, object]]:
    from .session_variants import VARIANTS

    kinds = list(VARIANTS) if options.variants == ["all"] else options.variants
    if unknown := set(kinds) - set(VARIANTS):
        raise SystemExit(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    result = compared(await measure(kinds, url, options))
    print(f"{'':20}{'CPU-s':>8}{'CPU x':>8}  {'quartiles':15}{'sessions/s':>11}{'rate x':>8}")
    for kind, r in result.items():
        low, high = r["cpu_x_quartiles"]  # type: ignore[misc]
        print(
            f"{kind:20}{r['cpu_s_per_session']:8.4f}{r['cpu_x']:8.3f}  {low:5.3f} to {high:5.3f}"
            f"{r['sessions_per_s']:12.3f}{r['rate_x']:8.3f}"
        )
    return result


async def against_bare(options: argparse.Namespace, url: str) -> dict[str, object]:
    samples = await measure(["bare", "executor"], url, options)
    both = list(zip(samples["executor"], samples["bare"], strict=True))
    result = {
        **compared(samples),
        "cpu_ratio": round(statistics.median(e[0] / b[0] for e, b in both), 3),
        "throughput_ratio": round(statistics.median(e[1] / b[1] for e, b in both), 3),
        "cpu_ratios": [round(e[0] / b[0], 3) for e, b in both],
    }
    print(json.dumps(result, indent=2))
    return result


async def _line(worker: asyncio.subprocess.Process, expected: bytes) -> None:
    line = await worker.stdout.readline()  # type: ignore[union-attr]
    if line.strip() != expected:
        raise SystemExit(f"a worker ended: {line!r}")


if __name__ == "__main__":
    asyncio.run(main())
