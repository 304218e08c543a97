"""What all pages share: head, bar, footer, and the pieces they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse

from .cart import Cart
from .catalogue import Product, price

CART_COOKIE = "shop_cart"
ACCOUNT_COOKIE = "shop_account"
_NAME = "Harbour Lane"


def cart_of(request: Request) -> Cart:
    return Cart.read(request.cookies.get(CART_COOKIE, ""))


def page(request: Request, title: str, body: str, status: int = 200) -> HTMLResponse:
    """A whole page. `title` is plain text, `body` is HTML."""
    count = cart_of(request).count
    account = ("/account", "Account") if ACCOUNT_COOKIE in request.cookies else ("/login", "Log in")
    bar = (
        ("/shop", "Shop"),
        ("/search", "Search"),
        ("/about", "About"),
        account,
        ("/cart", f"Cart ({count})"),
    )
    items = "".join(
        f'<li><a href="{path}"{_current(request, path)}>{escape(label)}</a></li>' for path, label in bar
    )
    whole = title if title == _NAME else f"{title} – {_NAME}"
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(whole)}</title>
<meta name="description" content="A small shop for slow mornings. It sells nothing: it is for tests.">
<link rel="icon" href="/pictures/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/shop.css">
<script src="/static/shop.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="bar"><div>
<a class="brand" href="/"><img src="/pictures/mark.svg" width="36" height="36" alt="">{_NAME}</a>
<button type="button" class="burger" data-menu aria-expanded="false" aria-controls="menu">Menu</button>
<nav id="menu" aria-label="Main"><ul>{items}</ul></nav>
</div></header>
<main id="content">
{body}
</main>
<footer><div>
<p>{_NAME} is a demo. Nothing is sold, and nothing is sent.</p>
<a href="/shop">All products</a><a href="/about">About this shop</a>
</div></footer>
</body>
</html>
""",
        status,
    )


def cards(products: Iterable[Product]) -> str:
    """A list of products to choose from."""
    return f'<ul class="grid">{"".join(map(_card, products))}</ul>'


def picture(name: str, alt: str, width: int = 800, height: int = 560, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<img src="/pictures/{name}.svg" width="{width}" height="{height}" alt="{escape(alt)}"{kind}>'


def field(name: str, label: str, value: str = "", error: str = "", **attributes: str) -> str:
    """A labelled input; `error` is shown beside it and told to screen readers."""
    attributes = {"type": "text", **attributes}
    if error:
        attributes |= {"aria-invalid": "true", "aria-describedby": f"{name}-error"}
    rest = "".join(f' {key}="{escape(text)}"' for key, text in attributes.items())
    note = f'<small id="{name}-error">{escape(error)}</small>' if error else ""
    return (
        f'<div class="field"><label for="{name}">{escape(label)}</label>'
        f'<input id="{name}" name="{name}" value="{escape(value)}"{rest}>{note}</div>'
    )


def note(text: str) -> str:
    """Something to be noticed at once."""
    return f'<div class="note" role="alert"><p>{escape(text)}</p></div>'


def _card(product: Product) -> str:
    return (
        f'<li class="card">{picture(product.slug, "", 400, 280)}<div>'
        f'<h3><a href="/product/{product.slug}">{escape(product.name)}</a></h3>'
        f'<p>{escape(product.line)}</p><span class="price">{price(product.pence)}</span></div></li>'
    )


def _current(request: Request, path: str) -> str:
    return ' aria-current="page"' if request.url.path == path else ""
