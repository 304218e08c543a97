"""Ways to a site: connections, direct or through the proxies of a pool."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Literal

import msgspec

from broker_config.origin import Origin
from broker_config.proxy import Proxy
from runner.core.egress_policy import EgressPolicy
from runner.core.egress_pool import EgressPool

from .dns import NameNotResolved
from .event import EgressEvent, OnEvent
from .handshake import ProxyFailed, Talk, connect, socks5
from .limits import GateLimits
from .proxy_dial import dial
from .report import Ledger
from .resolver import Resolver


class SiteFailed(Exception):
    """The site, not the way to it. `kind` is a class of `docs/errors.md`."""

    def __init__(self, kind: Literal["name_not_resolved", "connection_failed"], words: str) -> None:
        self.kind = kind
        super().__init__(words)


class NoProxyLeft(Exception):
    """All proxies are down, or failed for this request."""


class Way(msgspec.Struct):
    """A connection on which requests can be written.

    `proxy` is None for a direct one. `absolute`: requests go in absolute form, with credentials; only the
    answer shows then whether the proxy works.
    """

    talk: Talk
    proxy: Proxy | None = None
    absolute: bool = False


class Tries(msgspec.Struct):
    """What one request has tried. `doubtful` proxies are to blame only if another one does it; `silent` are
    those of them that took the request, live on, and gave no answer."""

    tried: set[Proxy] = msgspec.field(default_factory=set)
    silent: set[Proxy] = msgspec.field(default_factory=set)
    doubtful: dict[Proxy, str] = {}


class Ways:
    """Of one session."""

    def __init__(
        self,
        policy: EgressPolicy,
        pool: EgressPool | None,
        resolver: Resolver,
        ledger: Ledger,
        limits: GateLimits,
        *,
        tls: Callable[[], ssl.SSLContext],
        on_event: OnEvent,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._pool = pool
        self._resolver = resolver
        self._ledger = ledger
        self._limits = limits
        self._tls = tls
        self._on_event = on_event
        self._clock = clock
        self._turn = 0 if pool is None else pool.turn(clock())
        self._own: Proxy | None = None

    async def open(self, origin: Origin, tries: Tries, *, tunnel: bool) -> Way:
        """Raises `SiteFailed`, `AddressRefused`, `NoProxyLeft`; never goes direct in place of a proxy."""
        if self._pool is None or any(p.fits(origin) for p in self._policy.bypass):
            way = Way(await self._direct(origin))
            self._ledger.used("direct")
            return way
        return await self._through_pool(self._pool, origin, tries, tunnel=tunnel)

    def proven(self, proxy: Proxy, tries: Tries) -> None:
        """It has done what others did not."""
        if self._pool is None:
            return
        if self._pool.worked(proxy):
            self._tell("proxy_up", proxy, "it works again")
        for other, reason in tries.doubtful.items():
            if other != proxy and self._pool.failed(other, self._clock(), reason):
                self._tell("proxy_down", other, reason)
        tries.doubtful.clear()

    def unproven(self, proxy: Proxy) -> None:
        """A connection to it ended before it showed anything."""
        if self._pool is not None:
            self._pool.left(proxy)

    def blame(self, proxy: Proxy, reason: str) -> None:
        """It does not work."""
        self._ledger.error(str(proxy), reason)
        if self._pool is not None and self._pool.failed(proxy, self._clock(), reason):
            self._tell("proxy_down", proxy, reason)

    def doubt(self, proxy: Proxy, reason: str, tries: Tries) -> None:
        """It did not do it, but perhaps nobody can."""
        if self._pool is not None and self._pool.is_down(proxy):
            self.blame(proxy, reason)
        else:
            self._ledger.error(str(proxy), reason)
            tries.doubtful[proxy] = reason

    async def no_answer(self, proxy: Proxy, tries: Tries) -> None:
        """It took a request and closed the connection: because it is gone, or because the site did?"""
        self._ledger.used(str(proxy))
        if not await self.is_gone(proxy):
            self.doubt(proxy, "it closed the connection without an answer", tries)
            tries.silent.add(proxy)

    async def is_gone(self, proxy: Proxy) -> bool:
        """Whether a proxy that broke a connection takes no new one. It is blamed then."""
        if self._pool is None:
            return False
        if self._pool.is_down(proxy):
            return True
        try:
            async with asyncio.timeout(self._limits.probe):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, proxy.host, proxy.port
                )
            transport.abort()
            return False
        except OSError as e:  # TimeoutError too
            self.blame(proxy, f"it broke a connection and takes no new one: {_words(e)}")
            return True

    async def _through_pool(self, pool: EgressPool, origin: Origin, tries: Tries, *, tunnel: bool) -> Way:
        # The names are the proxy's to resolve, unless the job brings servers.
        host = origin.host
        if self._policy.dns:
            try:
                host = str((await self._resolver.addresses(origin))[0])
            except NameNotResolved as e:
                raise SiteFailed("name_not_resolved", str(e)) from None
        while (proxy := pool.choose(self._turn, self._clock(), tries.tried, self._own)) is not None:
            tries.tried.add(proxy)
            try:
                async with asyncio.timeout(self._limits.proxy):
                    way = await self._through(proxy, origin, host, tunnel=tunnel)
            except ProxyFailed as e:
                if e.certain:
                    self.blame(proxy, str(e))
                else:
                    self.doubt(proxy, str(e), tries)
            except TimeoutError:
                self.blame(proxy, f"no answer within {self._limits.proxy:g} s")
            except BaseException:
                pool.left(proxy)
                raise
            else:
                if not way.absolute:
                    self.proven(proxy, tries)
                    self._ledger.used(str(proxy))
                self._own = proxy
                return way
        if tries.silent and tries.silent == tries.tried:
            # They do work: it is the site that hangs up.
            raise SiteFailed("connection_failed", f"{origin} closed the connection without an answer")
        raise NoProxyLeft(self._none_left(pool, origin))

    def _none_left(self, pool: EgressPool, origin: Origin) -> str:
        reasons = "; ".join(f"{s.proxy}: {s.reason}" for s in pool.states[:5] if s.reason)
        words = f"no proxy of {len(pool.states)} is left" + (f" ({reasons})" if reasons else "")
        self._ledger.lost(origin)
        if not self._ledger.errors or self._ledger.errors[-1].proxy:
            self._ledger.error("", words)
            self._tell("no_proxy_left", None, words)
        return words

    async def _through(self, proxy: Proxy, origin: Origin, host: str, *, tunnel: bool) -> Way:
        """`host` is how the proxy is told."""
        tls = self._tls() if proxy.scheme == "https" else None
        try:
            talk = await dial(proxy, tls, to=origin)
        except (ssl.SSLError, ssl.CertificateError) as e:
            raise ProxyFailed(f"TLS with it fails: {_words(e)}") from None
        except TimeoutError:
            raise
        except OSError as e:
            raise ProxyFailed(f"no connection: {_words(e)}") from None
        try:
            if proxy.scheme == "socks5":
                await socks5(talk, proxy, host, origin.port)
                return Way(talk, proxy)
            if tunnel or self._policy.dns:
                await connect(talk, proxy, host, origin.port)
                return Way(talk, proxy)
            return Way(talk, proxy, absolute=True)
        except BaseException:
            talk.transport.abort()
            raise

    async def _direct(self, origin: Origin) -> Talk:
        try:
            async with asyncio.timeout(self._limits.connect):
                return await self._connect(origin)
        except NameNotResolved as e:
            raise SiteFailed("name_not_resolved", str(e)) from None
        except TimeoutError:
            raise SiteFailed(
                "connection_failed", f"no connection to {origin} within {self._limits.connect:g} s"
            ) from None

    async def _connect(self, origin: Origin) -> Talk:
        loop = asyncio.get_running_loop()
        addresses = await self._resolver.addresses(origin)
        # One that does not answer leaves time for the others.
        share = self._limits.connect / (len(addresses) + 1)
        trouble = ""
        for address in addresses:
            try:
                async with asyncio.timeout(share if len(addresses) > 1 else None):
                    _, talk = await loop.create_connection(Talk, str(address), origin.port)
                return talk
            except OSError as e:  # TimeoutError too
                trouble = trouble or _words(e)
        raise SiteFailed("connection_failed", f"no connection to {origin}: {trouble}")

    def _tell(
        self, kind: Literal["proxy_down", "proxy_up", "no_proxy_left"], proxy: Proxy | None, reason: str
    ) -> None:
        p = self._policy
        self._on_event(
            EgressEvent(
                kind=kind,
                proxy="" if proxy is None else str(proxy),
                reason=reason,
                job=p.job,
                session=p.session,
                attempt=p.attempt,
            )
        )


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno) if error.errno else error.strerror
    return str(error) or type(error).__name__
