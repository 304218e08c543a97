"""The escape campaign's browser without a gate: what arrives from there is a way out."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Error, Playwright

from runner.browser.found import FoundBrowser
from runner.browser.launch import launch_options, launcher_name
from tests.campaigns.escape_scene import Scene
from tests.campaigns.escape_ways import Places, Way

#: Seconds in which a way must arrive.
PATIENCE = 3.0
#: Seconds for its page.
LOADING = 15.0
AT_ONCE = 6
#: What only counts when the browser is started in a special manner.
SPECIAL = ("environment-proxy", "proxy-auto-configuration")


def environment(scene: Scene, special: str) -> dict[str, str]:
    """Variables under which a browser (or all of a runner) is started for a special way."""
    port = scene.ports.get(special)
    if special == "environment-proxy":
        proxy = f"http://127.0.0.1:{port}"
        return {"http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": ""}
    if special == "proxy-auto-configuration":
        return {"auto_proxy": f"http://127.0.0.1:{port}/proxy.pac"}
    return {}


class Plain:
    def __init__(self, scene: Scene, playwright: Playwright, found: FoundBrowser) -> None:
        self.scene = scene
        self.found = found
        self.launcher = getattr(playwright, launcher_name(found.browser))

    async def run(self, ways: Sequence[Way], places: dict[str, Places]) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        async with self._browser() as browser:

            async def one(way: Way) -> None:
                async with room:
                    await self._try(way, places[way.name], browser)

            async with asyncio.TaskGroup() as group:
                for way in ways:
                    if way.name not in SPECIAL:
                        group.create_task(one(way))
        for way in ways:
            if way.name in SPECIAL:
                async with self._browser(way.name) as special:
                    await self._try(way, places[way.name], special)

    async def _try(self, way: Way, places: Places, browser: Browser) -> None:
        self.scene.begin(way.name)
        contexts = []
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(LOADING):
                for _ in range(way.contexts):
                    contexts.append(await browser.new_context())
                    page = await contexts[-1].new_page()
                    await page.goto(places.fill(way.url), wait_until="load", timeout=LOADING * 1000)
                    if way.act is not None:
                        await way.act(page, places)
        await self.scene.reached(way.name, PATIENCE)
        for context in contexts:
            with contextlib.suppress(Error, TimeoutError):
                async with asyncio.timeout(5):
                    await context.close()

    @asynccontextmanager
    async def _browser(self, special: str = "") -> AsyncIterator[Browser]:
        options: dict[str, Any] = launch_options(self.found, "--escape-campaign", "", 30)
        if special:
            options["env"] = {**os.environ, **environment(self.scene, special)}
        if special == "proxy-auto-configuration" and self.found.browser == "firefox":
            url = f"http://127.0.0.1:{self.scene.ports[special]}/proxy.pac"
            options["firefox_user_prefs"] = {
                "network.proxy.type": 2,
                "network.proxy.autoconfig_url": url,
            }
        browser = await self.launcher.launch(**options)
        try:
            yield browser
        finally:
            with contextlib.suppress(Error):
                await browser.close()
