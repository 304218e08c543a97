"""Connecting to the broker: the options that matter set, errors in words, a bounded farewell."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from .broker_login import BrokerLogin
from .errors import BrokerRefused, BrokerUnavailable, SettingsError

logger = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SCHEMES = ("nats", "tls", "ws", "wss")
_PASSWORD = re.compile(r"^(\w+://)?.*@")
_REFUSALS = ("authorization", "authentication", "maximum connections", "user authentication")


class _Client(Client):
    """Tells that it is closed also where the broker has cut it amid a write: nats-py's own fails there,
    before it has told anybody. And talks TLS where it was told to: nats-py's own talks in the clear to
    whoever says that TLS is not needed."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        uri = self._current_server.uri if self._current_server is not None else urlsplit("")
        # A leaf node on the same machine may talk in the clear, whatever certificates are known.
        told = "tls" in self.options and uri.scheme == "nats" and uri.hostname not in _LOOPBACK
        if initial_connection and (told or uri.scheme == "tls") and not info.get("tls_required"):
            # Before anything is said that somebody in between could use.
            raise nats.errors.Error("it does not talk TLS, which this connection has to be")
        await super()._process_info(info, initial_connection)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        try:
            await super()._close(status, do_cbs)
        except OSError as e:
            logger.debug("closing a broken connection: %s", e)
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
            for callback in (self._disconnected_cb, self._closed_cb):
                if do_cbs and callback is not None:
                    await callback()


def mask(url: str) -> str:
    """`url` without the credentials in it, fit for messages and logs."""
    return ",".join(_PASSWORD.sub(r"\1***@", part.strip()) for part in url.split(","))


def servers_of(url: str) -> list[str]:
    """The single URLs of `url`, which may hold several with commas between; else `SettingsError`."""
    servers = []
    for part in filter(None, (p.strip() for p in url.split(","))):
        server = part if "://" in part else f"nats://{part}"
        try:
            parts = urlsplit(server)
            port = parts.port
        except ValueError:
            raise SettingsError(f"broker URL {mask(server)!r} is not a URL; use nats://host:port") from None
        if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
            raise SettingsError(
                f"broker URL {mask(server)!r} is not allowed; use nats://host:port (or tls, ws, wss), "
                "several with commas between"
            )
        servers.append(server)
    if not servers:
        raise SettingsError("the broker URL is empty; use nats://host:port")
    if len({urlsplit(s).scheme in ("ws", "wss") for s in servers}) > 1:
        raise SettingsError(f"broker URL {mask(url)!r} mixes ws and nats addresses; use one kind")
    return servers


async def connect(
    url: str,
    *,
    name: str,
    timeout: float = 5.0,
    on_closed: Callable[[], None] | None = None,
    on_reconnected: Callable[[], None] | None = None,
    on_disconnected: Callable[[], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
    inbox_prefix: str | None = None,
    credentials: Path | None = None,
    login: BrokerLogin | None = None,
    tls: ssl.SSLContext | None = None,
    reconnect_wait: float | None = None,
) -> Client:
    """A connected client that reconnects for ever; leave it with `leave`.

    `url` may hold several addresses with commas between. Within `timeout` seconds the first connect is tried
    again and again, so the broker may still be starting. `reconnect_wait` (seconds between attempts later on)
    is drawn from 0.25 to 1 by default: a fleet does not come back in one instant.

    `credentials` is a credentials file; `login` is the same in memory, and asked anew at each connect. `tls`
    says which certificates of the broker are believed, where it talks TLS: those of the system, without it.
    At an address of `tls://`, or of another machine where `tls` is given, it has to.

    `on_closed` is called when the client is closed for good, also by the broker (a revoked credential): such
    a client never comes back, and what holds it must end. Callbacks must not block. Requests that are in
    flight when the connection breaks time out at once.

    Raises `BrokerUnavailable` (nobody answers in time), `BrokerRefused` (credentials), `SettingsError` (the
    URL or the credentials file cannot be used).
    """
    servers = servers_of(url)
    shown = ", ".join(map(mask, servers))
    options: dict[str, Any] = {}
    if inbox_prefix is not None:
        options["inbox_prefix"] = inbox_prefix
    if credentials is not None:
        options["user_credentials"] = str(_readable(credentials))
    if login is not None:
        options["user_jwt_cb"] = lambda: login.token().encode()
        options["signature_cb"] = lambda nonce: base64.b64encode(login.sign(nonce.encode()))
    if tls is not None:
        options["tls"] = tls

    connecting = True
    last: Exception | None = None

    async def error_cb(e: Exception) -> None:
        nonlocal last
        if not connecting:
            (on_error or _log_error(name))(e)
            return
        last = e
        if is_refusal(e):
            # Leaves nats-py's connect loop, which would try the same credentials for ever.
            raise BrokerRefused(
                f"the broker at {shown} refused the connection: {_words(e)}; check user, password or "
                "credentials file"
            )

    nc = _Client()

    def disconnected() -> None:
        _fail_requests(nc)
        if on_disconnected is not None:
            on_disconnected()

    try:
        async with asyncio.timeout(timeout):
            await nc.connect(
                servers,
                name=name,
                error_cb=error_cb,
                closed_cb=_callback(on_closed),
                reconnected_cb=_callback(on_reconnected),
                disconnected_cb=_callback(disconnected),
                connect_timeout=2,
                max_reconnect_attempts=-1,
                # nats-py is annotated for whole seconds but takes fractions.
                reconnect_time_wait=reconnect_wait or random.uniform(0.25, 1.0),  # type: ignore[arg-type]
                ping_interval=5,
                max_outstanding_pings=2,
                drain_timeout=2,
                **options,
            )
    except TimeoutError:
        await _close(nc)
        why = f": {_words(last)}" if last else ""
        hint = "check the address and that nats-server runs there"
        if isinstance(last, ssl.SSLCertVerificationError):
            hint = "is it the right one? --nats-ca names what is believed; runners are told when they join"
        raise BrokerUnavailable(
            f"no NATS broker answers at {shown} within {timeout:g} s{why}; {hint}"
        ) from None
    except ModuleNotFoundError as e:
        raise SettingsError(
            f"credentials files need the Python package {e.name}; pip install 'nats-py[nkeys]'"
        ) from None
    except BaseException:
        await _close(nc)
        raise
    finally:
        connecting = False
    return nc


async def leave(nc: Client, within: float = 3.0) -> None:
    """Drain (handlers finish, what was published goes out), then close; all of it within `within` seconds."""
    try:
        if nc.is_connected:
            async with asyncio.timeout(within):
                await nc.drain()
    except (TimeoutError, OSError, nats.errors.Error) as e:
        logger.debug("connection not drained: %s", e)
    finally:
        await _close(nc)


@asynccontextmanager
async def connected(
    url: str,
    *,
    name: str,
    timeout: float = 5.0,
    on_closed: Callable[[], None] | None = None,
    on_reconnected: Callable[[], None] | None = None,
    on_disconnected: Callable[[], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
    inbox_prefix: str | None = None,
    credentials: Path | None = None,
    login: BrokerLogin | None = None,
    tls: ssl.SSLContext | None = None,
    reconnect_wait: float | None = None,
) -> AsyncIterator[Client]:
    """`connect`, and `leave` at the end; `on_closed` is called then too."""
    nc = await connect(
        url,
        name=name,
        timeout=timeout,
        on_closed=on_closed,
        on_reconnected=on_reconnected,
        on_disconnected=on_disconnected,
        on_error=on_error,
        inbox_prefix=inbox_prefix,
        credentials=credentials,
        login=login,
        tls=tls,
        reconnect_wait=reconnect_wait,
    )
    try:
        yield nc
    finally:
        await leave(nc)


def _fail_requests(nc: Client) -> None:
    """Requests in flight time out now: their answers can come no more, and nats-py would let them wait on."""
    for answer in list(nc._resp_map.values()):
        if not answer.done():
            answer.set_exception(TimeoutError())


async def _close(nc: Client) -> None:
    if nc.is_closed:
        return
    with contextlib.suppress(TimeoutError, OSError, nats.errors.Error):
        async with asyncio.timeout(2):
            await nc.close()


def _callback(call: Callable[[], None] | None) -> Callable[[], Awaitable[None]]:
    async def callback() -> None:
        if call is not None:
            call()

    return callback


def _log_error(name: str) -> Callable[[Exception], None]:
    def log(e: Exception) -> None:
        logger.warning("%s: broker connection: %s", name, _words(e))

    return log


def is_refusal(e: Exception) -> bool:
    """Whether the broker has said no to who connects, and not to one thing that was tried."""
    text = str(e).lower()
    return isinstance(e, nats.errors.AuthorizationError) or any(word in text for word in _REFUSALS)


def _words(e: Exception) -> str:
    return str(e).removeprefix("nats: ").strip("'") or type(e).__name__


def _readable(path: Path) -> Path:
    try:
        path.read_bytes()
    except OSError as e:
        raise SettingsError(f"credentials file {path} cannot be read: {e.strerror}") from None
    return path
