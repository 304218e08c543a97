"""The runner's vitals beside those of the web-vitals library, on the same pages.

The library (Apache-2.0) is not part of this project: it is fetched from the npm registry for the occasion.
Each page is read by a session of the runner and, in a context of its own, by the library; the library is told
of the end of the visit by hiding the page. Both are measured several times, and the medians compared, because
loads of one page differ among themselves.

    uv run python -m tests.benchmarks.web_vitals [--times 7]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import statistics
import tarfile
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright

from broker_config.behaviour import Behaviour
from broker_config.duration_range import DurationRange
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed
from runner.browser.launch import launch_options
from tests.support.sessions import a_session, silent
from tests.support.site import Site, open_site

PACKAGE = "https://registry.npmjs.org/web-vitals/-/web-vitals-6.2.3.tgz"
METRICS = ("ttfb", "fcp", "lcp", "cls", "inp")
BUSY = "onclick='const t=performance.now();while(performance.now()-t<80);'"
PAGES = {
    "/plain": "<h1>Plain</h1><a href=/slow>On</a>",
    "/late": "<h1>Late</h1><a href=/slow>On</a><script>setTimeout(()=>document.body.insertAdjacentHTML("
    "'beforeend','<p style=\"font-size:60px\">A much larger text that comes late</p>'),120)</script>",
    "/shifts": "<div id=a></div><p>one</p><div id=b></div><p>two</p><a href=/slow>On</a><script>"
    "setTimeout(()=>{a.style.height='120px'},40);setTimeout(()=>{b.style.height='200px'},120)</script>",
    "/busy": f"<h1>Busy</h1><a href=/slow {BUSY}>On</a>",
}
#: Milliseconds (CLS: none) by which medians may differ.
WITHIN = {"ttfb": 15.0, "fcp": 40.0, "lcp": 60.0, "cls": 0.001, "inp": 24.0}


async def ours(executor: BrowserExecutor, url: str) -> dict[str, float | None]:
    behaviour = Behaviour(click_ratio=1.0, depth=2, scroll=False, dwell=DurationRange(0.3, 0.3))
    outcome = await executor.run(a_session(url, behaviour=behaviour), silent)
    if outcome.status != "ok":
        raise SystemExit(f"a session failed: {outcome.error}")
    return {name: getattr(outcome.measures, name) for name in METRICS}


async def theirs(browser: Browser, library: str, url: str) -> dict[str, float | None]:
    context = await browser.new_context()
    page = await context.new_page()
    hear = (
        "self.vitals = {}; for (const n of ['TTFB', 'FCP', 'LCP', 'CLS', 'INP'])"
        " webVitals['on' + n](m => { vitals[n] = m.value }, {reportAllChanges: true})"
    )
    await page.add_init_script(f"{library};{hear}")
    await page.goto(url, wait_until="load")
    await page.wait_for_timeout(400)
    # The click must not leave the page, or the library could not be asked.
    await page.evaluate("addEventListener('click', e => e.preventDefault())")
    await page.click("a")
    await page.wait_for_timeout(200)
    hide = "Object.defineProperty(document,'visibilityState',{value:'hidden',configurable:true});"
    await page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange'))")
    await page.wait_for_timeout(50)
    found: dict[str, Any] = await page.evaluate("vitals")
    await context.close()
    return {name: found.get(name.upper()) for name in METRICS}


async def compare(site: Site, executor: BrowserExecutor, browser: Browser, library: str, times: int) -> bool:
    fine = True
    rows = []
    for path in PAGES:
        pairs = [
            (await ours(executor, site.url + path), await theirs(browser, library, site.url + path))
            for _ in range(times)
        ]
        for name in METRICS:
            mine, other = ([v for p in pairs if (v := p[i][name]) is not None] for i in (0, 1))
            row: dict[str, Any] = {"page": path, "metric": name}
            if mine and other:
                row["ours"] = round(statistics.median(mine), 4)
                row["web_vitals"] = round(statistics.median(other), 4)
                row["agree"] = abs(row["ours"] - row["web_vitals"]) <= WITHIN[name]
            else:
                row |= {"ours": len(mine), "web_vitals": len(other), "agree": len(mine) == len(other)}
            fine = fine and row["agree"]
            rows.append(row)
    print("\n".join(map(json.dumps, rows)))
    return fine


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    async with httpx.AsyncClient(timeout=60) as client:
        package = (await client.get(PACKAGE)).raise_for_status().content
    print(f"{PACKAGE} sha256 {hashlib.sha256(package).hexdigest()}")
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        member = files.extractfile("package/dist/web-vitals.iife.js")
        assert member is not None
        library = member.read().decode()
    executor = BrowserExecutor(["chromium"], say=lambda _: None)
    await executor.start()
    try:
        found = installed(["chromium"])[0]
        sandbox = launch_options(found, "", "", 30)["chromium_sandbox"]
        async with open_site() as site, async_playwright() as playwright:
            site.pages |= PAGES
            browser = await playwright.chromium.launch(executable_path=found.path, chromium_sandbox=sandbox)
            fine = await compare(site, executor, browser, library, options.times)
            await browser.close()
    finally:
        await executor.close()
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    asyncio.run(main())
