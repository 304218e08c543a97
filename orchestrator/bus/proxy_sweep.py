"""Seals what the bucket of proxies holds unsealed, and ends the keeping of those that jobs have brought."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from broker_config.errors import BrokerError, JobNotFound, MessageError, SealBroken
from broker_config.proxy_pool import job_pool_key

from .job_store import JobStore
from .proxy_store import KEPT_DAYS, ProxyStore

log = logging.getLogger(__name__)

EVERY = 600.0
#: Proxies are stored before their job: without one they may stay so long, s.
WITHOUT_JOB = 3_600.0


class ProxySweep:
    """Any number of orchestrators may sweep. `clock` gives seconds since 1970."""

    def __init__(self, jobs: JobStore, proxies: ProxyStore, *, clock: Callable[[], float]) -> None:
        self._jobs = jobs
        self._proxies = proxies
        self._clock = clock

    async def run(self) -> NoReturn:
        unsealed = True
        while True:
            try:
                if unsealed:
                    if sealed := await self._proxies.seal_all():
                        log.info("%d values of the bucket of proxies are sealed now", sealed)
                    unsealed = False
                await self.sweep()
            except (BrokerError, MessageError, SealBroken) as e:
                log.debug("proxies of jobs are not swept now: %s", e)
            await asyncio.sleep(EVERY)

    async def sweep(self) -> None:
        """Remove what belongs to jobs that have long been finished, or were never stored."""
        for job, since in await self._proxies.jobs():
            now = self._clock()
            try:
                document = await self._jobs.get(job)
            except JobNotFound:
                over = since < now - WITHOUT_JOB
            else:
                ended = document.ended_at or document.submitted_at
                over = document.state == "finished" and ended < now - KEPT_DAYS * 86_400
            if over:
                await self._proxies.purge(job_pool_key(job))
