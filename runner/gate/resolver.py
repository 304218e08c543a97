"""Addresses of one session's sites: each name is looked up once, and keeps its addresses to the end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from broker_config.address import IPAddress, as_address
from broker_config.origin import Origin
from runner.core.egress_policy import EgressPolicy, is_loopback_name, may_dial

from .dns import NameNotResolved, lookup

_LOOPBACK: list[IPAddress] = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]


class AddressRefused(Exception):
    """The name leads where it must not."""


class Resolver:
    """`spawn` starts the lookups and owns them. Safe for concurrent use."""

    def __init__(
        self,
        policy: EgressPolicy,
        spawn: Callable[[Coroutine[Any, Any, list[IPAddress]]], asyncio.Task[list[IPAddress]]],
    ) -> None:
        self._policy = policy
        self._spawn = spawn
        self._pinned: dict[str, list[IPAddress]] = {}
        self._asking: dict[str, asyncio.Task[list[IPAddress]]] = {}

    async def addresses(self, origin: Origin) -> list[IPAddress]:
        """Raises `NameNotResolved`, `AddressRefused`."""
        found = await self._pin(origin.host)
        for address in found:
            if not may_dial(self._policy, origin, address):
                raise AddressRefused(
                    f"{origin} leads to {address}, which is not a public address; the job does not name it"
                )
        return found

    async def _pin(self, host: str) -> list[IPAddress]:
        if host in self._pinned:
            return self._pinned[host]
        task = self._asking.get(host)
        if task is None:
            task = self._asking[host] = self._spawn(self._look_up(host))
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        # Who gives up waiting must not take the answer from others.
        found = await asyncio.shield(task)
        return self._pinned.setdefault(host, found)

    async def _look_up(self, host: str) -> list[IPAddress]:
        if (address := as_address(host)) is not None:
            return [address]
        if is_loopback_name(host):
            return _LOOPBACK
        if self._policy.dns:
            return await lookup(host, self._policy.dns)
        return await ask_system(host)


async def ask_system(host: str) -> list[IPAddress]:
    """What the machine itself makes of a name, or of an address. Raises `NameNotResolved`."""
    loop = asyncio.get_running_loop()
    try:
        rows = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as e:
        raise NameNotResolved(f"{host} cannot be looked up: {e.strerror or e}") from e
    found = list(dict.fromkeys(str(row[4][0]).partition("%")[0] for row in rows))
    return [ipaddress.ip_address(text) for text in found]
