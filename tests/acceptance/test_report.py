"""The page of a report, as the orchestrator serves it, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
from nats.aio.client import Client
from playwright.async_api import Browser

from tests.support.report_shots import DESKTOP, PHONE, Scheme, chromium, opened
from tests.support.rich_job import HOSTILE, Rich, hostile, rich
from tests.support.web_parts import Stage, stage

CASES = {"rich": rich(), "hostile": hostile(), "running": rich(running=True)}


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as it:
        yield it


@pytest_asyncio.fixture
async def web(nc: Client) -> AsyncIterator[Stage]:
    async with stage(nc) as it:
        yield it


def served(web: Stage, case: Rich) -> str:
    """The address of the job's report."""
    web.jobs.jobs[case.job.id] = case.job
    web.jobs.checkpoints[case.job.id] = case.checkpoint
    return f"{web.api}/jobs/{case.job.id}/report"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("width", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
async def test_it_is_whole_and_asks_for_nothing(
    web: Stage, browser: Browser, name: str, width: int, scheme: Scheme
) -> None:
    async with opened(browser, served(web, CASES[name]), width, scheme) as (tab, seen):
        assert seen == []
        assert await tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await tab.locator("h1").inner_text() == CASES[name].job.spec.name
        assert await tab.locator("svg:visible").count() == 3
        assert await tab.locator("svg:visible").first.get_attribute("class") == (
            "wide" if width == DESKTOP else "narrow"
        )
        # What is drawn is seen: each plot is within the view, and its words can be read.
        for plot in await tab.locator("svg:visible").all():
            box = await plot.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            size = await plot.locator("text").first.evaluate("t => t.getBoundingClientRect().height")
            assert size >= 10
        for summary in await tab.locator("summary").all():
            await summary.click()
        assert await tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert seen == []


async def test_names_that_try_to_be_markup_are_text(web: Stage, browser: Browser) -> None:
    async with opened(browser, served(web, CASES["hostile"]), DESKTOP, "light") as (tab, seen):
        assert HOSTILE[8:72] in await tab.locator("main").inner_text()
        assert await tab.locator("script, img, iframe").count() == 0
        assert seen == []


async def test_every_table_has_a_caption_and_every_plot_a_name(web: Stage, browser: Browser) -> None:
    async with opened(browser, served(web, CASES["rich"]), DESKTOP, "light") as (tab, _):
        tables = await tab.locator("table").count()
        assert await tab.locator("table > caption").count() == tables > 8
        names = await tab.locator("svg").evaluate_all("all => all.map(s => s.getAttribute('aria-label'))")
        assert len(names) == 6
        assert all(len(n) > 20 for n in names)
        # Headings go down by one level at a time.
        levels = await tab.locator("h1, h2, h3").evaluate_all("all => all.map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
