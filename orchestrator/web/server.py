"""The web server: uvicorn in a task of our own, without its hold on signals and exits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from broker_config.errors import SettingsError

from .http_protocol import HeadBoundProtocol
from .sockets import MAX_MESSAGE
from .websocket_protocol import FanOutProtocol

logger = logging.getLogger(__name__)

#: Seconds between pings to a WebSocket client, and for its answer.
PING_INTERVAL = 20.0
PING_TIMEOUT = 20.0


class WebServer:
    """An async context manager: inside it `app` is served at `url`.

    `port` 0 takes a free one; `port` then is the real one. With `tls` it speaks https alone. Leaving ends the
    server within about `stop_within` seconds: requests may finish, WebSocket clients are closed with 1012,
    what is left is cut.

    Entering raises `SettingsError` if the address cannot be used, and `RuntimeError` if the application does
    not start.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        stop_within: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._app = app
        self._stop_within = stop_within
        self._tls = tls
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For clients on this machine; a wildcard address is shown as loopback."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        scheme = "https" if self._tls else "http"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        try:
            self._server = server = _Server(_config(self._app, self._stop_within, self._tls))
            self._task = task = asyncio.create_task(server.serve([listener]), name="web server")
            started = asyncio.create_task(server.up.wait(), name="web server start")
            try:
                await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await self._stop()
                raise
            finally:
                started.cancel()
            if task.done():
                await task
        except BaseException:
            listener.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def watch(self) -> None:
        """Wait until the server ends; raises what ended it."""
        assert self._task is not None
        await asyncio.shield(self._task)

    async def _stop(self) -> None:
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = True
        try:
            # The server keeps to its own bound; this is for the case that it does not.
            await asyncio.wait([self._task], timeout=self._stop_within + 3)
        finally:
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task], timeout=2)
            for connection in list(self._server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        if self._task.done() and not self._task.cancelled() and (failure := self._task.exception()):
            logger.error("the web server failed: %r", failure)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's own business."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RuntimeError("the web application did not start; the log says why") from None
        self.up.set()


def _config(app: ASGIApp, stop_within: float, tls: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        ws=FanOutProtocol,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=PING_INTERVAL,
        ws_ping_timeout=PING_TIMEOUT,
        # A compressed frame could not be shared by all clients.
        ws_per_message_deflate=False,
        http=HeadBoundProtocol,
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn is annotated for whole seconds but takes fractions.
        timeout_graceful_shutdown=stop_within,  # type: ignore[arg-type]
        # Anybody could say so; whoever has a proxy in front names its address as a public origin.
        proxy_headers=False,
    )
    config.load()
    config.ssl = tls
    return config


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Connections inherit it; asyncio itself does not recognise sockets of `create_server` as TCP. Without
        # it each answer, sent as head and body, waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, OverflowError, UnicodeError) as e:
        raise SettingsError(f"the web server cannot listen at {host}:{port}: {_why(e, port)}") from None


def _why(e: Exception, port: int) -> str:
    if isinstance(e, OverflowError):
        return "a port is a number from 0 to 65535"
    if isinstance(e, UnicodeError) or (isinstance(e, OSError) and (e.errno or 0) < 0):
        return "the host name is not known; check its spelling"
    assert isinstance(e, OSError)
    if e.errno == errno.EADDRINUSE:
        return "the port is in use; choose another one, 0 for any free one, or end what uses it"
    if e.errno == errno.EACCES:
        return f"port {port} needs more rights; choose one above 1023"
    return f"{os.strerror(e.errno) if e.errno else e}; check that the address is one of this machine"
