"""The egress gate: a forward proxy on loopback, through which all traffic of a runner's browsers goes.

    async with Gate(on_event=tell) as gate:
        async with gate.session(policy, pool) as lease:
            context = await browser.new_context(proxy={"server": lease.proxy_url, "bypass": "<-loopback>"})
            ...
        lease.report()

Each session has an address of its own, so that the gate knows whose each connection is. What is between two
sessions, such as a browser's own requests, gets the address of a session with an empty policy.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

from broker_config.origin import Origin
from runner.core.egress_policy import EgressPolicy
from runner.core.egress_pool import EgressPool
from runner.core.token_bucket import TokenBucket

from .event import OnEvent, log_event
from .lease import Lease
from .limits import GateLimits

_MAX_BUCKETS = 10_000
_MAX_KILLED = 2_000


class Gate:
    """`on_event` hears of proxies that fail and return. `tls` makes the context for `https` proxies. `clock`
    gives seconds, `wall` those since 1970."""

    def __init__(
        self,
        *,
        limits: GateLimits | None = None,
        on_event: OnEvent = log_event,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or GateLimits()
        self._on_event = on_event
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._clock = clock
        self._wall = wall
        self._leases: set[Lease] = set()
        self._buckets: dict[tuple[str, Origin], TokenBucket] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: Jobs that were cut.
        self._killed: dict[str, None] = {}
        self._held = False
        limits = self._limits
        self._period = max(0.05, min(2.0, limits.head_time / 4, limits.idle / 4))

    async def __aenter__(self) -> Gate:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all sessions' connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        leases, self._leases = self._leases, set()
        for lease in leases:
            await lease.close()

    @asynccontextmanager
    async def session(self, policy: EgressPolicy, pool: EgressPool | None = None) -> AsyncIterator[Lease]:
        """A way out for one session, to the end of the block. `pool` None is direct."""
        lease = Lease(
            policy,
            pool,
            self._limits,
            tls=self._tls_context,
            on_event=self._on_event,
            clock=self._clock,
            wait=self._wait,
            wall=self._wall,
        )
        try:
            await lease.open()
            self._leases.add(lease)
            if policy.job in self._killed:
                lease.cut()
            if self._held:
                lease.hold(True)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._period, self._check)
            yield lease
        finally:
            self._leases.discard(lease)
            await lease.close()

    def cut(self, job: str) -> None:
        """Cut all connections of the job's sessions at once, and open none for it any more."""
        self._killed[job] = None
        if len(self._killed) > _MAX_KILLED:
            del self._killed[next(iter(self._killed))]
        for lease in list(self._leases):
            if lease.policy.job == job:
                lease.cut()

    def renew(self, job: str, origins: frozenset[Origin], expires_at: float) -> None:
        """Sessions of the job that may open no other origins than these go on until then."""
        for lease in self._leases:
            known = lease.expires_at
            if lease.policy.job == job and known is not None and lease.policy.origins <= origins:
                lease.expires_at = max(known, expires_at)

    def hold(self, held: bool) -> None:
        """Let no traffic through for now, in either direction; or let it go on."""
        self._held = held
        for lease in list(self._leases):
            lease.hold(held)

    def _check(self) -> None:
        self._timer = None
        now = self._clock()
        for lease in self._leases:
            lease.check(now)
        if self._leases:
            self._timer = asyncio.get_running_loop().call_later(self._period, self._check)

    def _wait(self, policy: EgressPolicy, origin: Origin) -> float:
        now, key = self._clock(), (policy.job, origin)
        rate = self._rate(policy.job)
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(rate, now)
        elif bucket.rate != rate:
            bucket.become(rate, now)
        self._buckets[key] = bucket  # the last used stands last
        if len(self._buckets) > _MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now)

    def _rate(self, job: str) -> float:
        """The shares of the job's sessions that run here, together."""
        shares = [x.policy.rate for x in self._leases if x.policy.job == job and x.policy.rate is not None]
        return math.fsum(shares)  # the same in any order

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls
