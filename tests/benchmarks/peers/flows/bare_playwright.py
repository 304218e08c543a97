"""The flow by Playwright alone: one browser, so many loops.

python bare_playwright.py URL SESSIONS_AT_ONCE PATH_OF_THE_BROWSER
"""

from __future__ import annotations

import asyncio
import sys

from playwright.async_api import Browser, async_playwright


async def session(browser: Browser, url: str) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url, wait_until="load")
    await page.evaluate("scrollBy({top: 600, behavior: 'instant'})")
    await page.evaluate("scrollBy({top: 600, behavior: 'instant'})")
    async with page.expect_navigation(wait_until="load"):
        await page.get_by_role("link", name="Next").click()
    await context.close()


async def main(url: str, at_once: int, path: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)

        async def loop() -> None:
            while True:
                await session(browser, url)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(loop())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
