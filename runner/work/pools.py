"""The proxies of jobs, as this runner uses them: one `EgressPool` a job, shared by its sessions here."""

from __future__ import annotations

from broker_config.messages import Dispatch
from runner.core.egress_pool import EgressPool


class Pools:
    """`of` gives the pool of a session's job; None is direct."""

    async def of(self, dispatch: Dispatch) -> EgressPool | None:
        return None
