"""Logging in, the account, logging out."""

from __future__ import annotations

from html import escape
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from .buying import looks_like_email
from .form import read_form
from .layout import ACCOUNT_COOKIE, field, note, page, picture

#: The password of every account; the log-in page says so.
PASSWORD = "demo"


async def show_login(request: Request) -> Response:
    return _login(request)


async def login(request: Request) -> Response:
    form = await read_form(request)
    email = form.get("email", "")
    if not looks_like_email(email) or form.get("password") != PASSWORD:
        return _login(request, email, "E-mail or password is wrong.")
    answer = RedirectResponse("/account", 303)
    # Anybody may forge it: there is nothing behind it but a greeting.
    answer.set_cookie(ACCOUNT_COOKIE, quote(email), httponly=True, samesite="lax")
    return answer


def _login(request: Request, email: str = "", error: str = "") -> Response:
    password = {"type": "password", "autocomplete": "current-password", "required": ""}
    return page(
        request,
        "Log in",
        f"""<h1>Log in</h1>{note(error) if error else ""}
<p class="lead">Any e-mail address will do. The password is <code>{PASSWORD}</code>.</p>
<form class="panel" method="post" action="/login">
{field("email", "E-mail", email, type="email", autocomplete="email", required="")}
{field("password", "Password", **password)}
<button type="submit">Log in</button></form><h2>Meanwhile, outside</h2>
{picture("hero", "Hills above a calm bay at sunrise", css="wide")}""",
        401 if error else 200,
    )


async def account(request: Request) -> Response:
    email = unquote(request.cookies.get(ACCOUNT_COOKIE, ""))
    if not email:
        return RedirectResponse("/login", 303)
    return page(
        request,
        "Account",
        f"""<h1>Your account</h1><p class="lead">Welcome, {escape(email)}.</p>
{picture("workshop", "A green valley that leads down to the sea", css="wide")}
<h2>What now?</h2><p>There are no past orders. <a href="/shop">Shop</a>
or <a href="/logout">log out</a>.</p>""",
    )


async def logout(request: Request) -> Response:
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(ACCOUNT_COOKIE)
    return answer


ROUTES = [
    Route("/login", show_login),
    Route("/login", login, methods=["POST"]),
    Route("/account", account),
    Route("/logout", logout),
]
