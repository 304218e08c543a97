"""The reader follows links, and never those that it must not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker_config.behaviour import Behaviour
from broker_config.duration_range import DurationRange
from runner.browser.executor import BrowserExecutor
from tests.support.sessions import a_session, silent
from tests.support.site import Site, open_site

CLICKS = Behaviour(click_ratio=1.0, depth=4)
TRAPS = """
<a href=/logout>Good bye</a> <a href=/x1>Log out</a> <a href=/x2 aria-label="Delete this">x</a>
<a href=/x3><img src=/pixel.png alt="Sign out" width=20 height=20></a> <a href=/file.pdf>Paper</a>
<a href=/x4 download>Get it</a> <a href=/x5 target=_blank>Window</a> <a href=/x6 data-method=delete>Tidy</a>
<a href="mailto:a@b.c">Mail</a> <a href="javascript:fetch('/x7')">Script</a> <a href="#part">Part</a>
<a href=/x8 style="display:none">Hidden</a> <a href=/x9 onclick="removeItem(1)">Item</a>
<a href=http://localhost:1/x10>Elsewhere</a> <a href=/x11 hx-post=/x11>Post</a>
<button onclick="fetch('/x12')">Delete</button><a href=/x13>Custom</a>
"""


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


async def test_links_are_followed_up_to_the_depth(executor: BrowserExecutor, site: Site) -> None:
    for n in range(1, 9):
        site.pages[f"/p{n}"] = (
            f"<h1>{n}</h1><div style='height:1500px'></div><a href=/p{n + 1}?secret=1>On</a>"
        )
    outcome = await executor.run(a_session(f"{site.url}/p1", behaviour=CLICKS), silent)
    assert (outcome.status, outcome.error) == ("ok", None)
    assert site.hits == {"/p1": 1, "/p2": 1, "/p3": 1, "/p4": 1}
    assert [p.url for p in outcome.pages] == [f"{site.url}/p{n}" for n in range(1, 5)]
    assert outcome.pages[0].measures == outcome.measures
    for page in outcome.pages:
        m = page.measures
        assert (m.http_status, m.requests) == (200, 1)
        assert m.ttfb is not None
        assert m.fcp is not None
        assert m.lcp is not None
        assert m.load is not None
        assert 0 < m.ttfb <= m.load < 5000


async def test_the_click_that_leaves_a_page_is_an_interaction_of_it(
    executor: BrowserExecutor, site: Site
) -> None:
    """If the next page leaves the browser time to paint the answer to the click."""
    site.pages["/"] = "<a href=/slow onclick='const t=Date.now();while(Date.now()-t<60);'>On</a>"
    outcome = await executor.run(a_session(f"{site.url}/", behaviour=CLICKS), silent)
    left, last = outcome.pages
    assert left.measures.inp is not None
    assert 50 < left.measures.inp < 1000
    assert outcome.measures.inp == left.measures.inp
    assert last.measures.inp is None


async def test_traps_are_never_followed(executor: BrowserExecutor, site: Site) -> None:
    site.pages["/"] = TRAPS
    for seed in range(3):
        behaviour = Behaviour(click_ratio=1.0, depth=4, deny=["custom"])
        outcome = await executor.run(a_session(f"{site.url}/", behaviour=behaviour, seed=seed), silent)
        assert outcome.status == "ok"
    assert site.hits == {"/": 3, "/pixel.png": 3}


async def test_the_same_seed_reads_the_same_pages(executor: BrowserExecutor, site: Site) -> None:
    links = " ".join(f"<p><a href=/n{n}>To {n}</a></p>" for n in range(12))
    site.pages["/"] = links
    for n in range(12):
        site.pages[f"/n{n}"] = f"<h1>{n}</h1>{links}"
    ways = []
    for seed in (5, 5, 6):
        outcome = await executor.run(a_session(f"{site.url}/", behaviour=CLICKS, seed=seed), silent)
        ways.append([p.url for p in outcome.pages])
    assert len(ways[0]) == 4
    assert ways[0] == ways[1] != ways[2]


async def test_an_application_of_one_page_is_followed_too(executor: BrowserExecutor, site: Site) -> None:
    go = "event.preventDefault(); history.pushState(0, '', '/inside'); fetch('/bottom')"
    site.pages["/"] = f'<a href=/inside onclick="{go}">In</a>'
    outcome = await executor.run(a_session(f"{site.url}/", behaviour=CLICKS), silent)
    assert outcome.status == "ok"
    # Only one document was loaded, so there is one page.
    assert outcome.pages == []
    assert site.hits["/bottom"] >= 1
    assert site.hits["/inside"] == 0


@pytest.mark.parametrize(
    ("link", "kind"),
    [("/broken", "http_status"), ("/cut", "connection_failed"), ("/never", "navigation_timeout")],
)
async def test_a_link_to_a_page_that_fails_fails_the_session(
    executor: BrowserExecutor, site: Site, link: str, kind: str
) -> None:
    site.pages["/"] = f"<a href={link}>On</a>"
    dispatch = a_session(f"{site.url}/", behaviour=CLICKS, navigation_limit=1.0)
    outcome = await executor.run(dispatch, silent)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == (kind, False)
    assert outcome.measures.http_status == 200


async def test_a_link_that_is_covered_or_leads_nowhere_ends_the_visit(
    executor: BrowserExecutor, site: Site
) -> None:
    site.pages["/covered"] = (
        "<a href=/x>On</a><div style='position:fixed;inset:0;background:#fff;z-index:9'>Cookies?</div>"
    )
    site.pages["/dead"] = "<a href=/x onclick='event.preventDefault()'>On</a>"
    said: list[str] = []
    for path in ("/covered", "/dead"):
        outcome = await executor.run(
            a_session(site.url + path, behaviour=CLICKS), lambda _, text: said.append(text)
        )
        assert outcome.status == "ok"
    assert site.hits["/x"] == 0
    assert "the links to follow are covered" in said
    assert f"a click on {site.url}/x led nowhere" in said


async def test_what_is_measured_is_what_the_page_did(executor: BrowserExecutor, site: Site) -> None:
    """Against what is true by construction; `tests/benchmarks/web_vitals.py` compares with the library."""
    late = "<p style='font-size:60px'>A much larger text that comes late</p>"
    site.pages["/"] = (
        "<body style='margin:0'><div id=a></div><h1>Page</h1><a href=/slow>On</a><script>"
        f'setTimeout(() => document.body.insertAdjacentHTML("beforeend", "{late}"), 300);'
        "setTimeout(() => {a.style.height = '100px'}, 100)</script>"
    )
    behaviour = Behaviour(click_ratio=1.0, depth=2, scroll=False, dwell=DurationRange(0.5, 0.5))
    outcome = await executor.run(a_session(f"{site.url}/", behaviour=behaviour), silent)
    m = outcome.measures
    assert m.fcp is not None
    assert m.lcp is not None
    assert m.cls is not None
    assert m.fcp < 300 < m.lcp < 700
    # The heading and the link move by 100 pixels: that share of the window's height, of the part they cover.
    assert 0 < m.cls < 0.14
    scrolled = await executor.run(a_session(f"{site.url}/"), silent)
    assert scrolled.measures.lcp is not None
    # Scrolling ends it, as a user's does.
    assert scrolled.measures.lcp < 300
