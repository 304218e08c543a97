"""Settings of an orchestrator."""

from __future__ import annotations

import msgspec

from broker_config.streams import LEASE


class OrchestratorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    #: Address of the broker, or several separated by commas.
    nats: str = "nats://127.0.0.1:4222"
    #: Where REST, WebSockets and the pages are served.
    host: str = "127.0.0.1"
    #: 0 takes a free port.
    port: int = 8700
    #: Name in logs and in the leadership key; made up when empty.
    name: str = ""
    #: Copies of each stream: 1 on one broker, 3 on a cluster.
    replicas: int = 1
    #: The lease of a dispatched session: a runner that is silent for longer loses it.
    lease: float = LEASE
    #: Origins that jobs may go to beside loopback, such as https://shop.example; `*` allows all.
    allowed_origins: list[str] = []
    #: Where the broker on this machine keeps its streams: a job is not taken on when the disk has no room for
    #: its records. Empty where the broker is elsewhere; its streams' bounds are all that is known then.
    store_dir: str = ""
