"""The demo shop holds together: every link leads somewhere, the flows work, the counts are true."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
import pytest_asyncio

from cli.demo_shop import create_shop
from cli.demo_shop.counter import MOST_AGENTS, MOST_PATHS, OTHER, RequestCounter
from orchestrator.web.server import WebServer

SLOW = 0.4


class Links(HTMLParser):
    """What a page links to and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pages: list[str] = []
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a":
            self.pages.append(found["href"] or "")
        elif tag in ("img", "script") and "src" in found:
            self.parts.append(found["src"] or "")
        elif tag == "link":
            self.parts.append(found["href"] or "")


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[httpx.AsyncClient]:
    """A visitor of a shop of its own."""
    async with (
        WebServer(create_shop(slow_seconds=SLOW)) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        yield client


async def test_every_link_leads_to_a_page_of_this_site(shop: httpx.AsyncClient) -> None:
    waiting, pages, parts = ["/"], {}, {}
    while waiting:
        path = waiting.pop()
        if path in pages or path == "#content":
            continue
        assert path.startswith("/"), path
        began = time.monotonic()
        pages[path] = answer = await shop.get(path, follow_redirects=True)
        took = time.monotonic() - began
        assert answer.status_code == (500 if path == "/error" else 200), path
        assert (took >= SLOW) == (path == "/slow"), (path, took)
        links = Links(answer.text)
        waiting += links.pages
        for part in set(links.parts):
            if part not in parts:
                assert part.startswith("/")
                parts[part] = await shop.get(part)
                assert parts[part].status_code == 200, part
        weight = len(answer.content) + sum(len(parts[part].content) for part in set(links.parts))
        if path in ("/", "/shop", "/about", "/search", "/cart") or path.startswith("/product/"):
            assert 100_000 < weight < 260_000, (path, weight)
    products = {f"/product/{name}" for name in ("kettle", "mug", "lamp", "blanket")}
    rest = {"/", "/shop", "/about", "/search", "/cart", "/login", "/slow", "/error"}
    assert set(pages) == products | rest
    assert "/static/shop.js" in parts


async def test_pictures_are_the_same_in_every_shop(shop: httpx.AsyncClient) -> None:
    async with (
        WebServer(create_shop()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as other,
    ):
        for path in ("/pictures/kettle.svg", "/pictures/hero.svg"):
            assert (await other.get(path)).content == (await shop.get(path)).content


async def test_what_is_not_there_is_told(shop: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/product/yacht", "/pictures/../shop.py", "/%3Cscript%3E"):
        answer = await shop.get(path)
        assert (answer.status_code, "There is nothing at" in answer.text) == (404, True)
    assert "/<script>" not in answer.text
    assert (await shop.get("/cart/add")).status_code == 405
    assert (await shop.post("/cart/add", data={"product": "yacht"})).status_code == 400
    assert (await shop.post("/login", data={"email": "x" * 20_000})).status_code == 413


async def test_requests_are_counted_by_path_and_attempt(shop: httpx.AsyncClient) -> None:
    mark = "(job=job-1; session=7; attempt=2)"
    await shop.get("/", headers={"user-agent": f"Mozilla/5.0 (X11; Linux) TrafficBuster/0.1 {mark}"})
    await shop.get("/search?q=wool")
    await shop.get("/search?q=paper")
    await shop.get("/nothing")
    expected = {"paths": {"/": 1, "/search": 2, "/nothing": 1}, "agents": {mark: 1}, "total": 4}
    assert (await shop.get("/_stats")).json() == expected
    # Asking for the numbers does not change them.
    assert (await shop.get("/_stats")).json() == expected
    assert (await shop.post("/_stats/reset")).status_code == 204
    assert (await shop.get("/_stats")).json() == {"paths": {}, "agents": {}, "total": 0}


def test_the_counts_are_bounded_and_lose_nothing() -> None:
    counter = RequestCounter()
    for n in range(MOST_AGENTS + 50):
        counter.note(f"/{n}", f"x (job=j; session={n}; attempt=1)")
    assert (len(counter.paths), len(counter.agents)) == (MOST_PATHS + 1, MOST_AGENTS + 1)
    assert counter.agents[OTHER] == 50
    assert counter.total == counter.paths.total() == counter.agents.total() == MOST_AGENTS + 50


async def test_a_visitor_logs_in_and_out(shop: httpx.AsyncClient) -> None:
    assert (await shop.get("/account")).headers["location"] == "/login"
    wrong = await shop.post("/login", data={"email": "ann@example.test", "password": "guess"})
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (401, True)
    assert (await shop.get("/account")).status_code == 303

    right = await shop.post("/login", data={"email": "ann+<b>@example.test", "password": "demo"})
    assert (right.status_code, right.headers["location"]) == (303, "/account")
    account = await shop.get("/account")
    assert account.status_code == 200
    assert "Welcome, ann+&lt;b&gt;@example.test." in account.text
    assert '<a href="/logout">' in account.text

    assert (await shop.get("/logout")).status_code == 303
    assert (await shop.get("/account")).status_code == 303


async def test_a_visitor_buys(shop: httpx.AsyncClient) -> None:
    assert (await shop.get("/checkout")).headers["location"] == "/cart"
    await shop.post("/cart/add", data={"product": "mug", "quantity": "2"})
    await shop.post("/cart/add", data={"product": "lamp"})
    cart = await shop.get("/cart")
    assert "Cart (3)" in cart.text
    assert "£125.00" in cart.text
    await shop.post("/cart", data={"quantity-mug": "4", "quantity-lamp": "1"})
    assert "£161.00" in (await shop.get("/cart")).text
    await shop.post("/cart", data={"remove": "lamp"})
    assert "Cart (4)" in (await shop.get("/cart")).text

    fields = {
        "name": "Ann",
        "email": "ann@example.test",
        "street": "Quay 1",
        "postcode": "AB1",
        "city": "Oban",
    }
    missing = await shop.post("/checkout", data={**fields, "city": " "})
    assert missing.status_code == 422
    assert "Town is missing." in missing.text
    assert 'value="Quay 1"' in missing.text

    done = await shop.post("/checkout", data=fields)
    assert (done.status_code, done.headers["location"]) == (303, "/thank-you?order=1")
    thanks = await shop.get(done.headers["location"])
    assert "<h1>Thank you</h1>" in thanks.text
    assert "Cart (0)" in thanks.text


@pytest.mark.parametrize("cookie", ["mug-99999999999", "yacht-3", "mug", "-", "mug--1", "<script>-1"])
async def test_a_cart_that_makes_no_sense_is_empty(shop: httpx.AsyncClient, cookie: str) -> None:
    answer = await shop.get("/cart", headers={"cookie": f"shop_cart={cookie}"})
    assert (answer.status_code, "It is empty." in answer.text) == (200, True)
