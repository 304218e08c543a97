"""A cluster of three nats-servers on loopback, children of this process: for trial and for tests."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn, Self

from .embedded_server import EmbeddedServer
from .errors import ServerNotStarted
from .operator_mode import BrokerAccounts
from .server_config import CLUSTER_NAME, Cluster, Tls

logger = logging.getLogger(__name__)

NODES = 3
#: Below the range from which the kernel takes ports for outgoing connections: a node that is started again
#: finds its port free.
_PORTS = range(20_000, 32_000)


class EmbeddedCluster:
    """An async context manager: inside it the cluster runs and has a leader.

    Node n keeps its files in `<data_dir>/node-<n>` and listens on `port`, `port + 1` and `port + 2`, or on
    free ports. `host`, `accounts` and `tls` are of each node, as an `EmbeddedServer` has them. Each node
    lives as an `EmbeddedServer` does; `max_deaths` is of each. It bears the loss of one node at a time. On
    one machine it protects from no loss of that machine: it is there to try things.

    Entering raises `ServerNotStarted`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        sync_always: bool = True,
        on_event: Callable[[str], None] = logger.warning,
        host: str = "127.0.0.1",
        accounts: BrokerAccounts | None = None,
        tls: Tls | None = None,
        binary: Path | None = None,
        start_timeout: float = 30.0,
        max_deaths: int = 5,
    ) -> None:
        taken = _free_ports(NODES if port else 2 * NODES)
        routes = tuple(f"127.0.0.1:{p}" for p in taken[:NODES])
        # A credential that nobody needs who comes as a node is worth nothing.
        password = secrets.token_urlsafe(24) if accounts is not None else None
        ports = [port + i for i in range(NODES)] if port else taken[NODES:]
        self.nodes = [
            EmbeddedServer(
                data_dir / f"node-{n}",
                port=ports[n - 1],
                sync_always=sync_always,
                on_event=_named(f"node {n}", on_event),
                name=f"{CLUSTER_NAME}-{n}",
                cluster=Cluster(routes=routes, port=taken[n - 1], password=password),
                host=host,
                accounts=accounts,
                tls=tls,
                binary=binary,
                start_timeout=start_timeout,
                max_deaths=max_deaths,
            )
            for n in range(1, NODES + 1)
        ]
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where clients connect: all nodes, with commas between."""
        return ",".join(node.url for node in self.nodes)

    def url_at(self, host: str) -> str:
        """Where clients connect that know this machine as `host`."""
        return ",".join(node.url_at(host) for node in self.nodes)

    async def __aenter__(self) -> Self:
        # At the same time: a node is healthy only once it knows the cluster's leader.
        starts = [asyncio.create_task(self._stack.enter_async_context(node)) for node in self.nodes]
        try:
            await asyncio.gather(*starts)
        except BaseException as e:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)
            await self._stack.aclose()
            if isinstance(e, ServerNotStarted):
                raise ServerNotStarted(f"the cluster does not start: {e}") from None
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # All at the same time: the last of three has nobody to hand its leaderships to, and would wait.
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in self.nodes))
        self._stack.pop_all()

    async def watch(self) -> NoReturn:
        """Wait while the nodes run or are restarted; raises `ServerNotStarted` when one is given up."""
        watching = [asyncio.create_task(node.watch()) for node in self.nodes]
        try:
            done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in watching:
                task.cancel()
        raise AssertionError


def _named(name: str, on_event: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: on_event(f"{name}: {text}")


def _free_ports(count: int) -> list[int]:
    """Different ports of loopback on which nobody listens now."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ServerNotStarted(f"no {count} ports of {_PORTS.start} to {_PORTS.stop} are free on loopback")
