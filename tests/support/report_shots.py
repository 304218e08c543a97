"""Reports in a real browser, and pictures of them:

uv run python -m tests.support.report_shots FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright

from orchestrator.core.report.page import page
from runner.browser import installer
from tests.support.rich_job import hostile, rich

#: Widths of a desktop and of a phone, CSS pixels.
DESKTOP, PHONE = 1280, 390
Scheme = Literal["light", "dark"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    (found,) = await installer.ensure(["chromium"], print)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found.path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, width: int, scheme: Scheme
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page, and what went wrong or was asked for while it was opened."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        tab = await context.new_page()
        seen: list[str] = []
        tab.on("request", lambda r: seen.append(r.url) if r.url != url else None)
        tab.on("console", lambda m: seen.append(m.text))
        tab.on("pageerror", lambda e: seen.append(str(e)))
        tab.on("dialog", lambda d: seen.append(d.message))
        await tab.goto(url, wait_until="networkidle")
        yield tab, seen
    finally:
        await context.close()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cases = {"report": rich(), "running": rich(running=True), "hostile": hostile()}
    async with chromium() as browser:
        for name, case in cases.items():
            file = folder / f"{name}.html"
            file.write_text(page(case.report))
            for width, form in ((DESKTOP, "desktop"), (PHONE, "phone")):
                for scheme in ("light", "dark"):
                    async with opened(browser, file.resolve().as_uri(), width, scheme) as (tab, _):  # type: ignore[arg-type]
                        await tab.screenshot(path=folder / f"{name}-{form}-{scheme}.png", full_page=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
