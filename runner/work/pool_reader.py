"""Reads pools of proxies from the bucket, over the runner's connection."""

from __future__ import annotations

from broker_config import codec
from broker_config.errors import BrokerUnavailable
from broker_config.proxy_pool import ProxyPool, pool_subject
from broker_config.streams import PROXIES

from .link import Link

TIMEOUT = 2.0


class PoolReader:
    """`prefix` is that of JetStream's API."""

    def __init__(self, link: Link, *, prefix: str = "$JS.API") -> None:
        self._link = link
        self._get = f"{prefix}.DIRECT.GET.KV_{PROXIES.name}"

    async def read(self, key: str) -> tuple[ProxyPool, int] | None:
        """The pool and its revision; None if there is none, as far as the node knows that answers. Raises
        `BrokerUnavailable`, and `MessageError` for what is no pool."""
        msg = await self._link.request(f"{self._get}.{pool_subject(key)}", b"", timeout=TIMEOUT)
        headers = msg.headers or {}
        status = headers.get("Status", "")
        if status == "404" or "KV-Operation" in headers:
            return None
        if status:
            raise BrokerUnavailable(f"the bucket {PROXIES.name}: {status} {headers.get('Description', '')}")
        return codec.decode(msg.data, ProxyPool), int(headers.get("Nats-Sequence", "0"))
