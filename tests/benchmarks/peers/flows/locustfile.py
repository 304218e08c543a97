"""The flow by Locust's Playwright user; its address and the browser's path come from the environment."""

from __future__ import annotations

import os

from locust import task
from locust_plugins.users.playwright import PageWithRetry, PlaywrightUser, pw
from playwright.async_api import Browser, BrowserType

_launch = BrowserType.launch


async def launch(self: BrowserType, **options: object) -> Browser:
    """Locust's own options, but the browser that all take."""
    options = options | {"executable_path": os.environ["PEER_BROWSER"], "channel": None}
    return await _launch(self, **options)


BrowserType.launch = launch


class Visitor(PlaywrightUser):
    host = os.environ["PEER_URL"]
    headless = True

    @task
    @pw
    async def visit(self, page: PageWithRetry) -> None:
        await page.goto(os.environ["PEER_URL"], wait_until="load")
        await page.evaluate("scrollBy({top: 600, behavior: 'instant'})")
        await page.evaluate("scrollBy({top: 600, behavior: 'instant'})")
        async with page.expect_navigation(wait_until="load"):
            await page.get_by_role("link", name="Next").click()
