"""Journeys in a real browser: each action, its time, and what it says when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from broker_config import document
from broker_config.journey import ACTIONS, Journey
from broker_config.messages import Dispatch
from runner.browser.executor import BrowserExecutor
from runner.core.outcome import Outcome
from tests.support.sessions import a_session, silent
from tests.support.site import Site, open_site

SHOP = """<h1>Shop</h1>
<label>Email <input id=mail></label><label>Password <input type=password data-testid=pass></label>
<label>Country <select id=land><option value=at>Austria<option value=de>Germany</select></label>
<label><input type=checkbox id=terms>Terms</label>
<p id=menu onmouseover="out.textContent+=' hovered'">Menu</p><p id=out></p>
<div style="height:2000px"></div><p id=end>The end</p>
<ul><li>one</li><li>two</li></ul>
<button onclick="out.textContent += ` ${mail.value} ${land.value} ${terms.checked}`">
Check out</button>
<form action=/thanks><input name=q aria-label=Search><button>Pay</button></form>"""


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        site.pages |= {"/shop": SHOP, "/thanks": "<h1>Thank you</h1><a href=/shop>Back</a>"}
        yield site


def a_journey(site: Site, *steps: dict[str, Any], path: str = "/shop", **more: Any) -> Dispatch:
    journey = document.read({"steps": list(steps), "timeout": "1500ms"}, Journey)
    return a_session(site.url + path, journey=journey, **more)


async def failure(executor: BrowserExecutor, dispatch: Dispatch) -> tuple[str, str, Outcome]:
    outcome = await executor.run(dispatch, silent)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert not outcome.error.infrastructure
    return outcome.error.kind, outcome.error.detail, outcome


async def test_every_action(executor: BrowserExecutor, site: Site) -> None:
    steps: list[dict[str, Any]] = [
        {"fill": {"label": "Email", "value": "${user.email}"}, "name": "email"},
        {"fill": {"test_id": "pass", "value": "secret-7"}},
        {"select": {"label": "Country", "option": "Germany"}},
        {"check": "#terms"},
        {"hover": "#menu"},
        {"scroll": "bottom"},
        {"scroll": "top"},
        {"scroll": 300},
        {"scroll": {"css": "#end"}},
        {"click": {"role": "button", "name": "Check out"}},
        {"expect": {"css": "#out", "text": "hovered ada@shop.test de true"}},
        {"expect": {"css": "li", "count": 2}},
        {"expect": {"label": "Email", "value": "ada@shop.test"}},
        {"expect": {"css": "li", "nth": 1, "text": "three", "state": "hidden"}},
        {"wait_for": "#end"},
        {"dwell": "10ms-20ms"},
        {"pause": "10ms"},
        {"screenshot": "filled"},
        {"fill": {"label": "Search", "value": "x"}},
        {"press": "Enter", "name": "search"},
        {"expect": {"text": "Thank you", "url": "**/thanks?q=x", "title": "T"}},
        {"goto": "/shop"},
        {"click": {"text": "Pay"}, "name": "pay"},
        {"wait_for": {"url": "**/thanks*"}},
    ]
    assert {a for step in steps for a in step if a in ACTIONS} == set(ACTIONS)
    said: list[str] = []
    dispatch = a_journey(site, *steps, variables={"user.email": "ada@shop.test"})
    outcome = await executor.run(dispatch, lambda _, text: said.append(text))
    assert (outcome.status, outcome.error) == ("ok", None)
    assert len(outcome.steps) == len(steps)
    assert all(s.ok and not s.error and s.ms >= 0 for s in outcome.steps)
    names = [s.name for s in outcome.steps]
    assert names[:3] == ["email", "fill test id pass", 'select in label "Country"']
    # A search by Enter, a goto and a click have led to new pages; each is measured.
    assert [p.url.removeprefix(site.url) for p in outcome.pages] == ["/shop", "/thanks", "/shop", "/thanks"]
    assert all(p.measures.load is not None for p in outcome.pages)
    assert [s.name for s in outcome.shots] == ["filled"]
    assert outcome.shots[0].jpeg.startswith(b"\xff\xd8")
    assert not [text for text in said if "secret-7" in text]


async def test_a_step_is_done_when_the_page_that_it_led_to_is(executor: BrowserExecutor, site: Site) -> None:
    site.pages["/"] = "<a href=/slow>On</a>"
    outcome = await executor.run(a_journey(site, {"click": "a", "name": "on"}, path="/"), silent)
    (step,) = outcome.steps
    assert 300 < step.ms < 1500
    assert [p.url.removeprefix(site.url) for p in outcome.pages] == ["/", "/slow"]
    assert outcome.pages[1].measures.ttfb is not None
    assert outcome.pages[1].measures.ttfb > 290


async def test_a_step_that_fails_is_named_with_its_place(executor: BrowserExecutor, site: Site) -> None:
    kind, detail, outcome = await failure(
        executor,
        a_journey(
            site,
            {"hover": "#menu"},
            {"click": {"role": "button", "name": "Buy"}, "name": "buy", "timeout": "300ms"},
            {"hover": "#menu"},
        ),
    )
    assert kind == "step_failed"
    assert detail == 'step 2, "buy" (click button "Buy"): Timeout 300ms exceeded.'
    assert [(s.name, s.ok) for s in outcome.steps] == [("hover #menu", True), ("buy", False)]
    assert 300 <= outcome.steps[1].ms < 1500
    assert outcome.measures.http_status == 200


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"expect": {"text": "Sold out"}}, 'step 1, expect text "Sold out": '),
        ({"expect": {"css": "li", "count": 3}}, "step 1, expect li count 3: "),
        ({"expect": {"url": "**/thanks"}}, "step 1, expect url **/thanks: Timeout"),
        ({"click": "li"}, "step 1, click li: Error: strict mode violation"),
        ({"goto": "/nothing"}, "step 1, goto /nothing: the server answered 404"),
        ({"goto": "/cut"}, "step 1, goto /cut: net::ERR_EMPTY_RESPONSE"),
        ({"goto": "http://localhost:1/"}, "step 1, goto http://localhost:1/: the address is at no origin"),
        ({"fill": {"css": "#menu", "value": "geheim"}}, "step 1, fill #menu: "),
    ],
)
async def test_what_a_step_says_when_it_fails(
    executor: BrowserExecutor, site: Site, step: dict[str, Any], words: str
) -> None:
    dispatch = a_journey(site, {"timeout": "300ms", **step})
    if "goto" in step and step["goto"] != "/nothing":
        dispatch = a_journey(site, {"hover": "#menu"}, {"timeout": "300ms", **step})
        words = words.replace("step 1", "step 2")
    if step.get("goto") == "/nothing":
        dispatch = a_journey(site, {"timeout": "300ms", **step}, path="/thanks")
    kind, detail, _ = await failure(executor, dispatch)
    assert kind == "step_failed"
    assert words in detail
    assert "geheim" not in detail


async def test_an_optional_step_may_fail(executor: BrowserExecutor, site: Site) -> None:
    outcome = await executor.run(
        a_journey(
            site,
            {"click": "#cookies", "optional": True, "timeout": "200ms"},
            {"goto": "/nothing", "optional": True},
            {"goto": "/thanks"},
        ),
        silent,
    )
    assert (outcome.status, outcome.error) == ("ok", None)
    assert [(s.ok, s.error) for s in outcome.steps] == [
        (False, "Timeout 200ms exceeded."),
        (False, "the server answered 404"),
        (True, ""),
    ]


async def test_a_goto_at_the_beginning_opens_the_page_instead_of_the_target(
    executor: BrowserExecutor, site: Site
) -> None:
    outcome = await executor.run(a_journey(site, {"goto": "/thanks"}), silent)
    assert outcome.status == "ok"
    assert site.hits == {"/thanks": 1}
    assert outcome.measures.http_status == 200
    assert outcome.measures.load is not None


async def test_another_origin_of_the_job_may_be_visited(executor: BrowserExecutor, site: Site) -> None:
    async with open_site() as other:
        other.pages["/pay"] = "<h1>Pay</h1>"
        step = {"goto": f"{other.url}/pay"}
        outcome = await executor.run(a_journey(site, {"hover": "#menu"}, step, origins=[other.url]), silent)
        assert outcome.status == "ok"
        assert other.hits["/pay"] == 1


async def test_a_target_that_fails_is_no_failure_of_a_step(executor: BrowserExecutor, site: Site) -> None:
    kind, _, outcome = await failure(executor, a_journey(site, {"hover": "p"}, path="/broken"))
    assert (kind, outcome.steps) == ("http_status", [])
