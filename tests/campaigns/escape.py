"""Ways out of the egress gate: tries each, in a real browser, and counts what arrives where nothing may.

Each way is tried without a gate first: only what arrives then says something when nothing arrives later. Then
with the gate: direct, through an HTTP proxy, through a SOCKS5 proxy. Foreign hosts, their ports and the
system's resolver are watched from outside the browser; on Linux every packet is.

    uv run python -m tests.campaigns.escape [--browser firefox] [--ways fetch,iframe] [--json out.json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserType, Error, Playwright, async_playwright

from broker_config.origin import Origin
from runner.browser.finder import installed
from runner.browser.launch import launch_options, launcher_name
from runner.core.egress_policy import EgressPolicy
from runner.core.egress_pool import EgressPool
from runner.gate.browser_side import CHROMIUM_FLAGS, context_proxy, firefox_prefs
from runner.gate.gate import Gate
from runner.gate.lease import Lease
from tests.campaigns.escape_scene import REBOUND, Scene, enter, inside, open_scene
from tests.campaigns.escape_ways import WAYS, Places, Way
from tests.support.ports import free_ports
from tests.support.proxies import upstream

MODES = ("control", "direct", "http", "socks5")
#: Seconds in which a way without gate must arrive, and for which it is watched with one.
PATIENCE = 3.0
SETTLING = 0.4
AT_ONCE = 6
#: What only counts when the browser is started in a special manner.
_SPECIAL = ("environment-proxy", "proxy-auto-configuration")


class Campaign:
    def __init__(self, scene: Scene, playwright: Playwright, browser: str) -> None:
        self.scene = scene
        self.found = installed([browser])[0]
        self.launcher: BrowserType = getattr(playwright, launcher_name(self.found.browser))

    async def run(self, mode: str, ways: Sequence[Way]) -> dict[str, int]:
        """What arrived, by way. In a mode with gate what belongs to no way is there too."""
        scene = self.scene
        scene.clear()
        room = asyncio.Semaphore(AT_ONCE)
        async with AsyncExitStack() as stack:
            pool = None
            gate = wall = None
            if mode != "control":
                gate = await stack.enter_async_context(Gate(on_event=lambda event: None))
                wall = await stack.enter_async_context(gate.session(EgressPolicy()))
            if mode in ("http", "socks5"):
                proxy = await stack.enter_async_context(
                    upstream(
                        "http" if mode == "http" else "socks5",
                        user="u",
                        password="p",
                        names={"site.localhost": "127.0.0.1"},
                    )
                )
                pool = EgressPool([proxy.proxy])
            browser = await stack.enter_async_context(self._browser(mode, wall))

            async def one(way: Way) -> None:
                async with room:
                    await self._try(mode, way, browser, gate, pool)

            async with asyncio.TaskGroup() as group:
                for way in ways:
                    if way.name not in _SPECIAL:
                        group.create_task(one(way))
            for way in ways:
                if way.name in _SPECIAL:
                    async with self._browser(mode, wall, way.name) as special:
                        await self._try(mode, way, special, gate, pool)
        # What dying connections still send belongs to this mode.
        await asyncio.sleep(SETTLING)
        arrived = {w.name: scene.hits[w.name] + scene.packets[w.name] for w in ways}
        if mode != "control":
            arrived |= {k: n for k, n in (scene.hits + scene.packets).items() if k not in arrived}
        return arrived

    async def _try(self, mode: str, way: Way, browser: Browser, gate: Gate | None, pool: Any) -> None:
        scene = self.scene
        scene.begin(way.name)
        policy = EgressPolicy(
            origins=frozenset(
                {Origin("http", "site.localhost", scene.site_port), Origin("http", REBOUND, scene.site_port)}
            ),
            private_hosts=frozenset({REBOUND}),
            # A way of the rebinding kind: the names are resolved here, then, also before a proxy.
            dns=(("127.0.0.1", 53),) if way.name == "rebinding" else (),
        )
        async with AsyncExitStack() as stack:
            options: dict[str, Any] = {}
            if gate is not None:
                lease = await stack.enter_async_context(gate.session(policy, pool))
                options["proxy"] = context_proxy(lease)

            async def new_context() -> Any:
                context = await browser.new_context(**options)
                stack.push_async_callback(_close, context)
                return context

            page = await (await new_context()).new_page()
            port = scene.ports[way.name]
            host = scene.host(way.name)
            places = Places(way.name, scene.site, f"http://{host}:{port}", host, port, new_context)
            with contextlib.suppress(Error, TimeoutError):
                async with asyncio.timeout(2 * PATIENCE):
                    if not way.first:
                        await page.goto(f"{scene.site}/page/{way.name}", wait_until="load", timeout=3000)
                    if way.act is not None:
                        await way.act(page, places)
            if mode == "control":
                await scene.reached(way.name, PATIENCE)
            else:
                # The page's word that all before it was begun; and then a while.
                with contextlib.suppress(Error, TimeoutError):
                    async with asyncio.timeout(1):
                        await page.evaluate(f"fetch('{scene.site}/done/{way.name}').catch(e=>1)")
                await scene.reached(way.name, SETTLING)

    @asynccontextmanager
    async def _browser(self, mode: str, wall: Lease | None, special: str = "") -> AsyncIterator[Browser]:
        options = launch_options(self.found, "--escape-campaign", "", 30)
        firefox = self.found.browser == "firefox"
        own = ("--disable-quic", "--force-webrtc", "--host-resolver-rules")
        options["args"] = [a for a in options["args"] if not a.startswith(own) and not firefox]
        prefs: dict[str, Any] = {}
        port = self.scene.ports.get(special)
        if special == "environment-proxy":
            proxy = f"http://127.0.0.1:{port}"
            options["env"] = {**os.environ, "http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": ""}
        elif special == "proxy-auto-configuration":
            url = f"http://127.0.0.1:{port}/proxy.pac"
            prefs |= {"network.proxy.type": 2, "network.proxy.autoconfig_url": url}
            options["env"] = {**os.environ, "auto_proxy": url}
        if wall is not None:
            prefs |= firefox_prefs(wall)
            if not firefox:
                options["args"] += CHROMIUM_FLAGS
                options["proxy"] = context_proxy(wall)
        if firefox:
            options["firefox_user_prefs"] = prefs
        browser = await self.launcher.launch(**options)
        try:
            yield browser
        finally:
            with contextlib.suppress(Error):
                await browser.close()


async def _close(context: Any) -> None:
    with contextlib.suppress(Error, TimeoutError):
        async with asyncio.timeout(5):
            await context.close()


def _pages(scene_host: Any, ways: Sequence[Way], ports: dict[str, int]) -> dict[str, tuple[str, str]]:
    pages = {"none": ("", "<!doctype html>")}
    for way in ways:
        host, port = scene_host(way.name), ports[way.name]
        values = {"F": f"http://{host}:{port}", "H": host, "P": port, "W": way.name}
        pages[way.name] = (way.headers.format(**values), way.page.format(**values))
        pages[f"{way.name}.js"] = ("", way.script.format(**values))
    return pages


async def campaign(
    browser: str = "chromium", names: Sequence[str] | None = None, modes: Sequence[str] = MODES
) -> dict[str, Any]:
    """Run the ways (all that can be run here) in the modes; what arrived, by way and mode."""
    began = time.monotonic()
    ways = [w for w in WAYS if (names is None or w.name in names) and (inside() or not w.inside)]
    pages: dict[str, tuple[str, str]] = {}
    ports = free_ports(len(ways) + 1)
    table: dict[str, dict[str, int]] = {w.name: {} for w in ways}
    strays: dict[str, dict[str, int]] = {}
    async with open_scene([w.name for w in ways], pages, ports) as scene, async_playwright() as playwright:
        pages |= _pages(scene.host, ways, scene.ports)
        runs = Campaign(scene, playwright, browser)
        for mode in modes:
            arrived = await runs.run(mode, ways)
            for name, count in arrived.items():
                if name in table:
                    table[name][mode] = count
                else:
                    strays.setdefault(mode, {})[name] = count
    shown = [n for n, row in table.items() if row.get("control")]
    return {
        "browser": str(runs.found),
        "packets_seen": inside(),
        "ways": len(ways),
        "shown_to_work_without_gate": len(shown),
        "not_a_way_in_this_browser": [n for n in table if n not in shown],
        "escaped": {m: {n: r[m] for n, r in table.items() if r.get(m)} for m in modes if m != "control"},
        "strays": strays,
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
    if escaped(result):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
