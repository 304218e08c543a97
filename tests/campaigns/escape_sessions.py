"""The escape campaign's sessions: each way is tried in a session as runners run it, by their own executor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from playwright.async_api import Error, Page

from broker_config.behaviour import Behaviour
from broker_config.duration import Duration
from broker_config.duration_range import DurationRange
from broker_config.egress import Egress
from broker_config.grant import Grant, SignedGrant
from broker_config.job_spec import Limits
from broker_config.messages import Dispatch
from broker_config.origin import Origin
from runner.browser.executor import BrowserExecutor
from runner.core.egress_pool import EgressPool
from tests.campaigns.escape_plain import AT_ONCE, LOADING, SPECIAL, environment
from tests.campaigns.escape_scene import REBOUND, Scene
from tests.campaigns.escape_ways import Places, Way
from tests.support.proxies import upstream

#: Seconds that a session stays on its page.
STAY = 0.8


class Sessions:
    """`ended` tells how each way's session ended: `ok`, or the kind of its error."""

    def __init__(self, scene: Scene, browser: str, mode: Literal["direct", "http", "socks5"]) -> None:
        self.scene = scene
        self.browser = browser
        self.mode = mode
        self.ended: dict[str, str] = {}

    async def run(self, ways: Sequence[Way], places: dict[str, Places]) -> None:
        async with AsyncExitStack() as stack:
            pool = None
            if self.mode != "direct":
                names = {"site.localhost": "127.0.0.1"}
                proxy = upstream(self.mode, user="u", password="p", names=names)
                pool = EgressPool([(await stack.enter_async_context(proxy)).proxy])
            room = asyncio.Semaphore(AT_ONCE)
            async with self._executor() as executor:

                async def one(way: Way) -> None:
                    async with room:
                        await self._try(way, places[way.name], executor, pool)

                async with asyncio.TaskGroup() as group:
                    for way in ways:
                        if way.name not in SPECIAL:
                            group.create_task(one(way))
            for way in ways:
                if way.name in SPECIAL:
                    async with self._executor(way.name) as special:
                        await self._try(way, places[way.name], special, pool)

    async def _try(
        self, way: Way, places: Places, executor: BrowserExecutor, pool: EgressPool | None
    ) -> None:
        self.scene.begin(way.name)
        # A way of the rebinding kind: the names are resolved here, then, also before a proxy.
        dns = ["127.0.0.1"] if REBOUND in way.url else []
        url = places.fill(way.url)
        dispatch = Dispatch(
            job="escape",
            session=1,
            platform=executor.platforms[0].platform,
            target=way.name,
            url=url,
            egress=Egress(pool="upstream" if pool else None, dns=dns),
            grant=_grant(url),
            behaviour=Behaviour(dwell=DurationRange(STAY, STAY), scroll=False),
            limits=Limits(session=Duration(2 * LOADING), navigation=Duration(LOADING)),
        )
        async with asyncio.TaskGroup() as group:

            def say(event: str, text: str) -> None:
                if way.act is not None and text.startswith("loaded"):
                    group.create_task(self._act(way, places, executor))

            outcome = await executor.run(dispatch, say, pool)
        self.ended[way.name] = outcome.error.kind if outcome.error else outcome.status

    async def _act(self, way: Way, places: Places, executor: BrowserExecutor) -> None:
        """On the session's own page, from beside it."""
        assert way.act is not None
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(LOADING):
                await way.act(_page(executor, places.fill(way.url)), places)

    @asynccontextmanager
    async def _executor(self, special: str = "") -> AsyncIterator[BrowserExecutor]:
        executor = BrowserExecutor([self.browser], say=lambda text: None)
        before = dict(os.environ)
        os.environ.update(environment(self.scene, special))
        try:
            await executor.start()
            yield executor
        finally:
            os.environ.clear()
            os.environ.update(before)
            await executor.close()


def _grant(url: str) -> SignedGrant:
    """For the site alone, which stands in a private network where its name is not of loopback."""
    origin = Origin.of(url)
    return SignedGrant.plain(
        Grant(job="escape", expires_at=time.time() + 3600, origins=[str(origin)], private_hosts=[origin.host])
    )


def _page(executor: BrowserExecutor, url: str) -> Page:
    contexts = [c for pool in executor._pools.values() for r in pool.running for c in r.browser.contexts]
    return next(page for c in contexts for page in c.pages if page.url == url)
