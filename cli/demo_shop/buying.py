"""Cart, checkout and thanks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from .cart import MOST, Cart, number
from .catalogue import BY_SLUG, PRODUCTS, price
from .form import read_form
from .layout import CART_COOKIE, cards, cart_of, field, note, page, picture

_FIELDS = (
    ("name", "Name", {"autocomplete": "name"}),
    ("email", "E-mail", {"type": "email", "autocomplete": "email"}),
    ("street", "Street and number", {"autocomplete": "street-address"}),
    ("postcode", "Postcode", {"autocomplete": "postal-code"}),
    ("city", "Town", {"autocomplete": "address-level2"}),
)
_COUNTRIES = ("United Kingdom", "Ireland", "Germany", "France", "Norway")
_DELIVERIES = {"standard": "Standard, three days", "express": "Express, tomorrow"}


async def show_cart(request: Request) -> Response:
    cart = cart_of(request)
    if not cart.items:
        body = '<h1>Your cart</h1><p class="lead">It is empty.</p><h2>Fill it with</h2>' + cards(PRODUCTS)
        return page(request, "Cart", body)
    lines = "".join(_line(slug, count) for slug, count in cart.items.items())
    rest = [p for p in PRODUCTS if p.slug not in cart.items]
    more = f"<h2>You might also like</h2>{cards(rest)}" if rest else ""
    return page(
        request,
        "Cart",
        f"""<h1>Your cart</h1><form method="post" action="/cart"><ul class="lines">{lines}</ul>
<p class="total"><span>Total</span> <strong class="price">{price(cart.pence)}</strong></p>
<div class="row"><a class="button" href="/checkout">Go to checkout</a>
<button type="submit" class="plain">Update quantities</button></div></form>
<form id="remove" method="post" action="/cart"></form>{more}""",
    )


def _line(slug: str, count: int) -> str:
    it = BY_SLUG[slug]
    name = escape(it.name)
    return (
        f'<li>{picture(slug, "", 110, 77)}<a href="/product/{slug}">{name}</a>'
        f'<div class="row"><input type="number" name="quantity-{slug}" value="{count}" min="0" max="{MOST}" '
        f'aria-label="Quantity of {name}" data-what="{name}">'
        f'<button type="submit" class="plain" name="remove" value="{slug}" form="remove" '
        f'aria-label="Remove {name}">Remove</button></div>'
        f'<span class="price">{price(it.pence * count)}</span></li>'
    )


async def add(request: Request) -> Response:
    form = await read_form(request)
    if form.get("product") not in BY_SLUG:
        raise HTTPException(400, "There is no such product.")
    cart = cart_of(request)
    cart.add(form["product"], number(form.get("quantity", "1")))
    return _to_cart(cart)


async def update(request: Request) -> Response:
    form = await read_form(request)
    cart = cart_of(request)
    for slug in list(cart.items):
        cart.set(slug, number(form.get(f"quantity-{slug}", str(cart.items[slug]))))
    cart.set(form.get("remove", ""), 0)
    return _to_cart(cart)


def _to_cart(cart: Cart) -> Response:
    answer = RedirectResponse("/cart", 303)
    answer.set_cookie(CART_COOKIE, str(cart), httponly=True, samesite="lax")
    return answer


async def show_checkout(request: Request) -> Response:
    if not cart_of(request).items:
        return RedirectResponse("/cart", 303)
    return _checkout(request, {}, {})


async def order(request: Request) -> Response:
    form = await read_form(request)
    if not cart_of(request).items:
        return RedirectResponse("/cart", 303)
    errors = _errors(form)
    if errors:
        return _checkout(request, form, errors)
    it = next(request.app.state.orders)
    answer = RedirectResponse(f"/thank-you?order={it}", 303)
    answer.delete_cookie(CART_COOKIE)
    return answer


def _errors(form: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by field."""
    errors = {name: f"{label} is missing." for name, label, _ in _FIELDS if not form.get(name)}
    if "email" not in errors and not looks_like_email(form["email"]):
        errors["email"] = "This is no e-mail address."
    return errors


def looks_like_email(text: str) -> bool:
    before, at, after = text.partition("@")
    return bool(before and at and after) and len(text) <= 200 and " " not in text


def _checkout(request: Request, form: Mapping[str, str], errors: Mapping[str, str]) -> Response:
    cart = cart_of(request)
    fields = "".join(
        field(name, label, form.get(name, ""), errors.get(name, ""), required="", **attributes)
        for name, label, attributes in _FIELDS
    )
    countries = "".join(
        f"<option{' selected' if form.get('country') == c else ''}>{c}</option>" for c in _COUNTRIES
    )
    wanted = form.get("delivery", "standard")
    deliveries = "".join(
        f'<label class="choice"><input type="radio" name="delivery" value="{value}"'
        f"{' checked' if value == wanted else ''}>{label}</label>"
        for value, label in _DELIVERIES.items()
    )
    pictures = "".join(f"<li>{picture(slug, BY_SLUG[slug].name, 110, 77)}</li>" for slug in cart.items)
    return page(
        request,
        "Checkout",
        f"""<h1>Checkout</h1>{note("Some fields need another look.") if errors else ""}
<p class="lead">{cart.count} in your cart, {price(cart.pence)} in all.</p>
<ul class="grid" aria-label="In your cart">{pictures}</ul><h2>Where to</h2>
<form class="panel" method="post" action="/checkout">{fields}
<div class="field"><label for="country">Country</label><select id="country" name="country"
 autocomplete="country-name">{countries}</select></div>
<fieldset><legend>Delivery</legend>{deliveries}</fieldset>
<button type="submit">Place order</button></form>""",
        422 if errors else 200,
    )


async def thanks(request: Request) -> Response:
    it = number(request.query_params.get("order", ""))
    told = f"Your order has the number {it}." if it else "Your order is on its way."
    return page(
        request,
        "Thank you",
        f"""<h1>Thank you</h1><p class="lead">{told} It will reach you in no time, because it is not real.</p>
{picture("workshop", "A green valley that leads down to the sea", css="wide")}
<h2>See you again</h2><a class="button" href="/shop">Back to the shop</a>""",
    )


ROUTES = [
    Route("/cart", show_cart),
    Route("/cart", update, methods=["POST"]),
    Route("/cart/add", add, methods=["POST"]),
    Route("/checkout", show_checkout),
    Route("/checkout", order, methods=["POST"]),
    Route("/thank-you", thanks),
]
