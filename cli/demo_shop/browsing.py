"""The pages that are only looked at."""

from __future__ import annotations

import asyncio
from html import escape

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .cart import MOST
from .catalogue import BY_SLUG, CATEGORIES, PRODUCTS, found, price
from .layout import cards, page, picture


async def home(request: Request) -> Response:
    return page(
        request,
        "Harbour Lane",
        f"""<section class="hero"><div><h1>Things for a slow morning</h1>
<p class="lead">Four good things for kitchen and living room. No more, because you need no more.</p>
<a class="button" href="/shop">Look around</a></div>
{picture("hero", "Hills above a calm bay at sunrise")}</section>
<h2>All we sell</h2>{cards(PRODUCTS)}""",
    )


async def shop(request: Request) -> Response:
    sections = "".join(
        f"<h2>{escape(c)}</h2>{cards(p for p in PRODUCTS if p.category == c)}" for c in CATEGORIES
    )
    return page(request, "Shop", f"<h1>Shop</h1>{sections}")


async def product(request: Request) -> Response:
    it = BY_SLUG.get(request.path_params["slug"])
    if it is None:
        raise HTTPException(404)
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in it.facts)
    return page(
        request,
        it.name,
        f"""<p class="crumbs"><a href="/shop">Shop</a> / {escape(it.category)}</p>
<article class="product">{picture(it.slug, it.name)}
<div><h1>{escape(it.name)}</h1><p class="lead">{escape(it.line)}</p><p class="price">{price(it.pence)}</p>
<form method="post" action="/cart/add"><input type="hidden" name="product" value="{it.slug}">
<div class="field row"><label for="quantity">Quantity</label>
<input id="quantity" name="quantity" type="number" value="1" min="1" max="{MOST}"
 data-what="{escape(it.name)}"></div>
<button type="submit">Add to cart</button></form>
<h2>What it is</h2><p>{escape(it.story)}</p><ul>{facts}</ul></div></article>
<h2>Goes well with it</h2>{cards(p for p in PRODUCTS if p is not it)}""",
    )


async def about(request: Request) -> Response:
    return page(
        request,
        "About",
        f"""<h1>About this shop</h1>
{picture("workshop", "A green valley that leads down to the sea", css="wide")}
<h2>A shop that sells nothing</h2>
<p class="lead">Harbour Lane is a place for tests: pages with pictures, a script and a cart that works.</p>
<p>It counts each request it gets, by path and by the test session that sent it, so that anybody can compare
what a test says with what arrived. Orders go nowhere, and the cart lives in a cookie of yours.</p>
{picture("hero", "Hills above a calm bay at sunrise", css="wide")}
<h2>Two pages for bad days</h2>
<ul><li><a href="/slow">The slow page</a> takes about two seconds to answer.</li>
<li><a href="/error">The broken page</a> always answers with an error.</li></ul>""",
    )


async def search(request: Request) -> Response:
    query = request.query_params.get("q", "")[:100]
    hits = found(query)
    told = f"{len(hits)} of {len(PRODUCTS)} products" + (f" for “{query}”" if query.strip() else "")
    return page(
        request,
        "Search",
        f"""<h1>Search</h1><form class="search" role="search" action="/search">
<input type="search" name="q" value="{escape(query)}" aria-label="Search the shop" placeholder="Try “wool”">
<button type="submit">Search</button></form>
<p class="lead" role="status">{escape(told)}</p>
{cards(hits) if hits else "<p>Nothing fits. Try a shorter word.</p>"}""",
    )


async def slow(request: Request) -> Response:
    await asyncio.sleep(request.app.state.slow_seconds)
    return page(
        request,
        "The slow page",
        f"""<h1>Worth the wait</h1><p class="lead">This page lets you wait for about two seconds.</p>
{picture("hero", "Hills above a calm bay at sunrise", css="wide")}
<p>Tests with a threshold on loading times should notice it.</p><a class="button" href="/">Home</a>""",
    )


async def error(request: Request) -> Response:
    return broken(request, 500, "This page is broken", "It always is: it answers with status 500.")


def broken(request: Request, status: int, title: str, why: str) -> Response:
    """The page for what went wrong."""
    return page(
        request,
        title,
        f'<h1>{escape(title)}</h1><p class="lead">{escape(why)}</p><a class="button" href="/">Home</a>',
        status,
    )


ROUTES = [
    Route("/", home),
    Route("/shop", shop),
    Route("/product/{slug}", product),
    Route("/about", about),
    Route("/search", search),
    Route("/slow", slow),
    Route("/error", error),
]
