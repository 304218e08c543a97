"""Device profiles as a page and its server see them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from broker_config import document
from broker_config.device import Device, Geolocation, Network, Viewport
from broker_config.device_table import DEVICES
from broker_config.journey import Journey
from runner.browser.executor import BrowserExecutor
from tests.support.device_table import facts
from tests.support.sessions import a_session
from tests.support.site import Site, open_site

#: The page tells what it sees by asking for it.
TELLING = """<meta name=viewport content="width=device-width"><script>
const media = q => matchMedia(q).matches;
(async () => {
  const at = await new Promise(done => navigator.geolocation.getCurrentPosition(
    p => done([p.coords.latitude, p.coords.longitude]), () => done(null), {timeout: 300}));
  document.title = JSON.stringify({
    width: innerWidth, height: innerHeight, scale: devicePixelRatio, touch: navigator.maxTouchPoints > 0,
    locale: navigator.language, zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    dark: media('(prefers-color-scheme: dark)'), still: media('(prefers-reduced-motion: reduce)'), at,
    agent: navigator.userAgent, mobile: navigator.userAgentData?.mobile,
    system: navigator.userAgentData?.platform,
    brands: (navigator.userAgentData?.brands || []).map(b => b.version)});
  fetch('/told?' + encodeURIComponent(document.title));
})();</script>"""


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


async def seen_by_a_page(executor: BrowserExecutor, site: Site, device: Device | None) -> dict[str, Any]:
    site.pages["/tell"] = TELLING
    said: list[str] = []
    journey = {"steps": [{"expect": {"title": "agent"}}]}
    dispatch = a_session(f"{site.url}/tell", device=device, journey=document.read(journey, Journey))
    outcome = await executor.run(dispatch, lambda _, text: said.append(text))
    assert (outcome.status, outcome.error) == ("ok", None)
    await site.asked("/told")
    told: dict[str, Any] = json.loads(site.queries["/told"])
    assert all(agent.endswith(f"session={dispatch.session}; attempt=1)") for _, agent in site.requests)
    return told


async def test_a_device_of_the_list(executor: BrowserExecutor, site: Site) -> None:
    seen = await seen_by_a_page(executor, site, Device(device="Pixel 7"))
    assert (seen["width"], seen["scale"], seen["touch"]) == (412, 2.625, True)
    assert "Android 14; Pixel 7" in seen["agent"]
    assert (seen["mobile"], seen["system"]) == (True, "Android")
    # The user agent tells the version of the browser that runs, as its client hints do.
    version = re.search(r"Chrome/(\d+)", seen["agent"])
    assert version is not None
    assert version[1] in seen["brands"]


async def test_a_profile_of_its_own(executor: BrowserExecutor, site: Site) -> None:
    device = Device(
        device="iPhone 15",
        viewport=Viewport(width=500, height=700),
        scale=2,
        locale="de-AT",
        timezone="Asia/Tokyo",
        geolocation=Geolocation(latitude=48.2, longitude=16.4),
        colour_scheme="dark",
        reduced_motion=True,
        touch=False,
    )
    seen = await seen_by_a_page(executor, site, device)
    assert (seen["width"], seen["height"], seen["scale"], seen["touch"]) == (500, 700, 2, False)
    assert (seen["locale"], seen["zone"], seen["at"]) == ("de-AT", "Asia/Tokyo", [48.2, 16.4])
    assert (seen["dark"], seen["still"]) == (True, True)
    assert "iPhone" in seen["agent"]


async def test_without_a_device_it_is_the_browser_itself(executor: BrowserExecutor, site: Site) -> None:
    seen = await seen_by_a_page(executor, site, None)
    assert (seen["mobile"], seen["dark"], seen["still"], seen["at"]) == (False, False, False, None)


async def test_cpu_and_network_are_slowed_down(executor: BrowserExecutor, site: Site) -> None:
    site.pages["/"] = (
        "<script>const t=performance.now();let n=0;while(n<1e6)n+=Math.sqrt(n)>-1;"
        "self.took=performance.now()-t</script><script src=/style.css></script>"
    )

    async def load(device: Device | None) -> float:
        outcome = await executor.run(a_session(f"{site.url}/", device=device), lambda *_: None)
        assert outcome.status == "ok"
        assert outcome.measures.load is not None
        return outcome.measures.load

    await load(None)
    plain = await load(None)
    # 20 KB at 160 kbit/s take a second.
    assert await load(Device(network=Network(download=160.0))) > plain + 700
    assert await load(Device(network=Network(latency=400.0))) > plain + 350
    assert await load(Device(cpu_throttle=20.0)) > plain * 2


async def test_an_unknown_device_is_for_another_runner(executor: BrowserExecutor, site: Site) -> None:
    began = time.monotonic()
    outcome = await executor.run(
        a_session(f"{site.url}/", device=Device(device="Nokia 3310")), lambda *_: None
    )
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("not_known_here", True)
    assert "Nokia 3310" in outcome.error.detail
    assert not site.hits
    assert time.monotonic() - began < 1


async def test_the_table_is_playwrights(executor: BrowserExecutor) -> None:
    """If this fails, Playwright has other devices now: `python -m tests.support.device_table`."""
    known = (await executor._driver.playwright()).devices
    assert {name: facts(known[name]) for name in sorted(known)} == DEVICES
    assert list(DEVICES) == sorted(DEVICES)
