"""The proxies of jobs, as this runner uses them: one `EgressPool` a job, shared by its sessions here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

from broker_config.egress import Egress
from broker_config.errors import BrokerUnavailable, EgressUnavailable, MessageError, SecretUnavailable
from broker_config.messages import Dispatch
from broker_config.proxy import Proxy
from runner.core.egress_pool import EgressPool

from .link import Link
from .running import Running
from .secret_reader import SecretReader

log = logging.getLogger(__name__)

#: A pool in use is read again so often, s: a proxy that is disabled is used no more after that.
REREAD = 3.0
#: Who was not read for so long is read before it is used.
STALE = 2 * REREAD
#: A pool that no session here has used for so long is forgotten, s.
FORGET = 300.0
#: So long a pool that is not found is still looked for: a node of the broker may lag behind.
MISSING = 1.5
_PAUSE = 0.2


class _Use:
    """A job's use of its proxies here."""

    def __init__(self, what: str) -> None:
        self.what = what
        #: Of what `pool` was made of.
        self.revision = 0
        self.pool: EgressPool | None = None
        self.lock = asyncio.Lock()
        self.used = 0.0
        self.read_at = 0.0
        #: How often in a row it was not found.
        self.missing = 0
        self.trouble = ""


class Pools:
    """`of` gives the pool of a session's job. `run` keeps pools current until cancelled.

    `clock` is that of the egress gate. `limit` gives the seconds that a session may wait for its pool.
    """

    def __init__(
        self,
        link: Link,
        reader: SecretReader,
        running: Running,
        *,
        runner: str,
        clock: Callable[[], float],
        limit: Callable[[], float],
    ) -> None:
        self._link = link
        self._reader = reader
        self._running = running
        self._runner = runner
        self._clock = clock
        self._limit = limit
        self._uses: dict[str, _Use] = {}

    async def of(self, dispatch: Dispatch) -> EgressPool | None:
        """None is direct, and only where the job wants that. Raises `EgressUnavailable`."""
        egress = dispatch.egress
        if egress is None or egress.is_direct:
            return None
        use = self._uses.get(dispatch.job)
        if use is None:
            use = self._uses[dispatch.job] = _use(dispatch.job, egress)
        use.used = self._clock()
        try:
            async with asyncio.timeout(self._limit()), use.lock:
                if use.pool is None or self._clock() - use.read_at > STALE:
                    await self._fetch(use, dispatch, egress)
        except TimeoutError:
            trouble = use.trouble or "the broker does not answer"
            raise EgressUnavailable(f"{use.what} cannot be read: {trouble}") from None
        assert use.pool is not None
        if not use.pool.states:
            raise EgressUnavailable(
                f"{use.what} has no enabled proxy; enable one, the session may not go direct"
            )
        return use.pool

    async def run(self) -> NoReturn:
        while True:
            await asyncio.sleep(REREAD)
            await self.look()

    async def look(self) -> None:
        """Read again what is in use, and forget what is not."""
        for job, use in list(self._uses.items()):
            now = self._clock()
            if runs := self._running.of(job):
                use.used = now
                if use.pool is not None and not await self._read_again(use, runs[0].dispatch):
                    return
            elif now - use.used > FORGET:
                del self._uses[job]

    async def _fetch(self, use: _Use, dispatch: Dispatch, egress: Egress) -> None:
        since: float | None = None
        while True:
            await self._link.up.wait()
            try:
                found = await self._reader.pool(dispatch, use.revision)
            except BrokerUnavailable as e:
                use.trouble = str(e)
            except (MessageError, SecretUnavailable) as e:
                raise EgressUnavailable(f"{use.what} cannot be used: {e}") from None
            else:
                if found is not None:
                    break
                use.trouble = "it is not there (any more)"
                since = self._clock() if since is None else since
                if self._clock() - since >= MISSING:
                    raise EgressUnavailable(f"{use.what} is not there (any more)")
            await asyncio.sleep(_PAUSE)
        use.revision = found.revision
        self._renew(use, dispatch.job, found.proxies, egress)

    async def _read_again(self, use: _Use, dispatch: Dispatch) -> bool:
        """False if the broker is away: what is known is used on."""
        try:
            found = await self._reader.pool(dispatch, use.revision)
        except BrokerUnavailable as e:
            log.debug("%s is not read again now: %s", use.what, e)
            return False
        except (MessageError, SecretUnavailable) as e:
            log.warning("%s stays as it was: %s", use.what, e)
            return True
        use.missing = 0 if found is not None else use.missing + 1
        if found is not None:
            use.revision = found.revision
            self._renew(use, dispatch.job, found.proxies)
        elif use.missing == 2:
            log.warning("%s is not there any more", use.what)
            use.revision = 0
            self._renew(use, dispatch.job, [])
        return True

    def _renew(
        self, use: _Use, job: str, proxies: Sequence[Proxy] | None, egress: Egress | None = None
    ) -> None:
        """`proxies` is None where they are those that it has."""
        use.read_at = now = self._clock()
        if proxies is None:
            return
        # A place of its own for each runner: else all would begin with the first proxy.
        seed = _seed(job, self._runner)
        first = seed % len(proxies) if proxies else 0
        turned = [*proxies[first:], *proxies[:first]]
        if use.pool is not None:
            use.pool.renew(turned)
        elif egress is not None:
            use.pool = EgressPool(
                turned,
                rotation=egress.rotation,
                cycle=egress.cycle,
                interval=float(egress.interval),
                order=egress.order,
                seed=seed,
                now=now,
            )


def _use(job: str, egress: Egress) -> _Use:
    if egress.pool is not None:
        return _Use(f"the pool {egress.pool} of proxies")
    return _Use(f"the list of proxies of job {job}")


def _seed(job: str, runner: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{job}.{runner}".encode(), digest_size=6).digest())
