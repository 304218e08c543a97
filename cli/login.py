"""`tb login` and `tb logout`."""

from __future__ import annotations

import contextlib

from broker_config.errors import AccessRefused

from . import credentials, kept_logins
from .output import err, json_line
from .people_client import PeopleClient
from .words import clock_time


async def log_in(client: PeopleClient, name: str, password: str, *, json: bool) -> None:
    """Log in, and keep that for the server, on this machine."""
    server = credentials.origin(client.server)
    if server.startswith("http://") and not credentials.is_loopback(server):
        err().print(f"careful: the password goes to {server} in plain text", markup=False)
    async with client as c:
        made = await c.login(name, password)
    login = kept_logins.KeptLogin(name=made.name, secret=made.secret, expires_at=made.expires_at)
    kept_logins.keep(server, login)
    if json:
        json_line({"server": server, "name": made.name, "role": made.role, "expires_at": made.expires_at})
        return
    until = clock_time(made.expires_at)
    err().print(f"logged in at {server} as {made.name} ({made.role}), until {until}", markup=False)


async def log_out(client: PeopleClient, *, json: bool) -> None:
    """End the kept login: on the server, and here in any case. `client` shows it."""
    server = credentials.origin(client.server)
    kept_logins.forget(server)
    async with client as c:
        # It may have ended there before.
        with contextlib.suppress(AccessRefused):
            await c.logout()
    if json:
        json_line({"server": server})
    else:
        err().print(f"logged out at {server}", markup=False)
