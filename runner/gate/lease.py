"""One session's own way through the gate: a proxy address, a policy, an account."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from broker_config.messages import ErrorInfo
from broker_config.origin import Origin
from broker_config.proxy import Proxy
from runner.core.egress_policy import EgressPolicy, Judgement, Purpose, judge, normal_origin
from runner.core.egress_pool import EgressPool

from .client import Client, reset
from .dns import NameNotResolved
from .event import OnEvent
from .limits import GateLimits
from .report import GateReport, Ledger
from .resolver import AddressRefused, Resolver
from .site import Site
from .way import Ways

log = logging.getLogger(__name__)

T = TypeVar("T")


class Lease:
    """Made by `Gate.session`. Its connections belong to it: they end with it."""

    def __init__(
        self,
        policy: EgressPolicy,
        pool: EgressPool | None,
        limits: GateLimits,
        *,
        tls: Callable[[], ssl.SSLContext],
        on_event: OnEvent,
        clock: Callable[[], float],
        wait: Callable[[EgressPolicy, Origin], float],
        wall: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.clock = clock
        #: From when on nothing new is opened, by the clock `wall`, s since 1970.
        self.expires_at = policy.expires_at
        self._wall = wall
        self.ledger = Ledger(policy.origins)
        self.sites: set[Site] = set()
        resolver = Resolver(policy, self.spawn)
        self.ways = Ways(policy, pool, resolver, self.ledger, limits, tls=tls, on_event=on_event, clock=clock)
        self.proxy_url = ""
        self._wait = wait
        self._server: asyncio.Server | None = None
        self._clients: set[Client] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes: dict[Proxy, asyncio.Task[None]] = {}
        self._judgements: dict[tuple[Origin, Purpose], Judgement] = {}
        self._closed = False
        #: Cut because its job is killed.
        self.is_cut = False
        #: Set while traffic may pass.
        self.free = asyncio.Event()
        self.free.set()

    # For the session

    def report(self) -> GateReport:
        """What was seen so far; complete when the lease has ended."""
        return self.ledger.report()

    def explain(self, url: str) -> ErrorInfo | None:
        """Why the origin of `url` could not be reached, where that is known here; the browser only saw that
        a connection or a tunnel failed. None too for what is no http or https URL."""
        try:
            return self.ledger.explain(normal_origin(Origin.of(url)))
        except ValueError:
            return None

    async def settle(self) -> None:
        """Return when it is known of every proxy that broke a connection whether it is gone; soon."""
        if self._probes:
            await asyncio.wait(list(self._probes.values()))

    # For the gate

    async def open(self) -> None:
        # The address as a number: nothing is looked up.
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self), "127.0.0.1", 0)
        self.proxy_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cut every connection, at once."""
        await asyncio.gather(*self._end(), return_exceptions=True)

    def cut(self) -> None:
        """The same for a killed job: what the system has yet to send to sites is thrown away too."""
        self.is_cut = True
        for site in self.sites:
            reset(site.transport)
        self._end()

    def hold(self, held: bool) -> None:
        """Let nothing through for now, in either direction; or let it go on."""
        if held:
            self.free.clear()
        else:
            self.free.set()
        for client in self._clients:
            client.flow()

    def _end(self) -> list[asyncio.Task[Any]]:
        """The tasks that are ending."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.abort()
        for site in self.sites:
            site.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def check(self, now: float) -> None:
        """End connections that take too long."""
        for client in list(self._clients):
            client.check(now)

    # For its connections

    def add(self, client: Client) -> bool:
        """False if there are too many; it is told so then."""
        self._clients.add(client)
        if self._closed or len(self._clients) > 2 * self.limits.connections:
            client.abort()
        return len(self._clients) <= self.limits.connections

    def remove(self, client: Client) -> None:
        self._clients.discard(client)

    def judge(self, origin: Origin, purpose: Purpose) -> Judgement:
        if self.expires_at is not None and self._wall() >= self.expires_at:
            return Judgement("expired")
        key = (origin, purpose)
        known = self._judgements.get(key)
        if known is None:
            if len(self._judgements) > 1000:
                self._judgements.clear()
            known = self._judgements[key] = judge(self.policy, origin, purpose)
        return known

    def wait(self, origin: Origin) -> float:
        """Seconds that a request has to wait for the rate ceiling."""
        if self.policy.rate is None:
            return 0.0
        seconds = self._wait(self.policy, origin)
        if seconds:
            self.ledger.delayed += 1
            self.ledger.delay += seconds
        return seconds

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that ends with the lease."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def suspect(self, proxy: Proxy, origin: Origin) -> None:
        """A connection through the proxy broke: find out whether the proxy did it."""
        if not self._closed and proxy not in self._probes:
            task = self._probes[proxy] = self.spawn(self._probe(proxy, origin))
            task.add_done_callback(lambda _: self._probes.pop(proxy, None))

    async def _probe(self, proxy: Proxy, origin: Origin) -> None:
        if await self.ways.is_gone(proxy):
            self.ledger.lost(origin)
            detail = f"the proxy {proxy} broke a connection"
            self.ledger.cause(origin, ErrorInfo(kind="egress_failed", detail=detail, infrastructure=True))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NameNotResolved | AddressRefused):
            log.error("unexpected error in the egress gate", exc_info=error)
