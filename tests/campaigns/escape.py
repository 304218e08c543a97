"""Ways out of the egress gate: tries each, in a real browser, and counts what arrives where nothing may.

Each way is tried without a gate first: only what arrives then says something when nothing arrives later. Then
in sessions as runners run them, by their own executor: direct, through an HTTP proxy, through a SOCKS5 proxy.
Foreign hosts, their ports and the system's resolver are watched from outside the browser; on Linux every
packet is.

    uv run python -m tests.campaigns.escape [--browser firefox] [--ways fetch,iframe] [--json out.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from runner.browser.finder import installed
from tests.campaigns.escape_plain import Plain
from tests.campaigns.escape_scene import Scene, enter, inside, open_scene
from tests.campaigns.escape_sessions import Sessions
from tests.campaigns.escape_ways import WAYS, Places, Way
from tests.support.ports import free_ports

MODES = ("control", "direct", "http", "socks5")
#: Seconds for what dying connections still send: it belongs to their mode.
SETTLING = 0.4
#: How a session of a way may end; it was at its page then.
_ENDS = ("ok", "origin_refused")


def _places(scene: Scene, way: Way) -> Places:
    host, port = scene.host(way.name), scene.ports[way.name]
    return Places(way.name, scene.site, f"http://{host}:{port}", host, port)


def _pages(ways: Sequence[Way], places: dict[str, Places]) -> dict[str, tuple[str, str]]:
    pages = {}
    for way in ways:
        fill = places[way.name].fill
        pages[way.name] = (fill(way.headers), fill(way.page) or "<!doctype html><p>a page")
        pages[f"{way.name}.js"] = ("", fill(way.script))
    return pages


async def campaign(
    browser: str = "chromium", names: Sequence[str] | None = None, modes: Sequence[str] = MODES
) -> dict[str, Any]:
    """Run the ways (all that can be run here) in the modes; what arrived, by way and mode."""
    began = time.monotonic()
    found = installed([browser])[0]
    ways = [w for w in WAYS if (names is None or w.name in names) and (inside() or not w.inside)]
    pages: dict[str, tuple[str, str]] = {}
    table: dict[str, dict[str, int]] = {w.name: {} for w in ways}
    strays: dict[str, dict[str, int]] = {}
    not_run: dict[str, dict[str, str]] = {}
    async with open_scene([w.name for w in ways], pages, free_ports(len(ways) + 1)) as scene:
        places = {w.name: _places(scene, w) for w in ways}
        pages |= _pages(ways, places)
        for mode in modes:
            scene.clear()
            if mode == "control":
                async with async_playwright() as playwright:
                    await Plain(scene, playwright, found).run(ways, places)
            else:
                sessions = Sessions(scene, browser, mode)  # type: ignore[arg-type]
                await sessions.run(ways, places)
                bad = {n: e for n, e in sessions.ended.items() if e not in _ENDS or not scene.visits[n]}
                # What hangs in this browser without a gate too says nothing.
                bad = {n: e for n, e in bad.items() if table[n].get("control", 1)}
                if bad:
                    not_run[mode] = bad
            await asyncio.sleep(SETTLING)
            arrived = scene.hits + scene.packets
            for way in ways:
                table[way.name][mode] = arrived.pop(way.name, 0)
            if mode != "control" and arrived:
                strays[mode] = dict(arrived)
    shown = [n for n, row in table.items() if row.get("control")]
    return {
        "browser": str(found),
        "packets_seen": inside(),
        "ways": len(ways),
        "shown_to_work_without_gate": len(shown),
        "not_a_way_in_this_browser": [n for n in table if n not in shown],
        "escaped": {m: {n: r[m] for n, r in table.items() if r.get(m)} for m in modes if m != "control"},
        "strays": strays,
        "not_run": not_run,
        "seconds": round(time.monotonic() - began, 1),
        "table": table,
    }


def escaped(result: dict[str, Any]) -> bool:
    return any(result["escaped"].values()) or any(result["strays"].values())


def _print(result: dict[str, Any]) -> None:
    modes = list(next(iter(result["table"].values())))
    print(f"{result['browser']}; packets seen: {result['packets_seen']}")
    print(f"{'way':28}" + "".join(f"{m:>10}" for m in modes))
    for name, row in result["table"].items():
        note = "" if row.get("control") else "   (not a way in this browser)"
        print(f"{name:28}" + "".join(f"{row[m]:>10}" for m in modes) + note)
    for mode, found in result["strays"].items():
        print(f"beside the ways, {mode}: {found}")
    for mode, found in result["not_run"].items():
        print(f"sessions that were not at their page, {mode}: {found}")
    shown = result["shown_to_work_without_gate"]
    print(f"{shown} of {result['ways']} ways lead out without the gate; {result['seconds']} s")
    for mode, found in result["escaped"].items():
        print(f"{mode}: {sum(found.values())} packets and hits of {len(found)} ways")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--ways", help="only these, separated by commas")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain", action="store_true", help="no network namespace")
    args = parser.parse_args()
    if not args.plain and (code := enter(sys.argv[1:])) is not None:
        raise SystemExit(code)
    names = args.ways.split(",") if args.ways else None
    result = asyncio.run(campaign(args.browser, names, args.modes.split(",")))
    _print(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    if escaped(result) or result["not_run"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
