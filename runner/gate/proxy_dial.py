"""A connection to a proxy, once it is known where its name leads."""

from __future__ import annotations

import asyncio
import ssl

from broker_config.address import IPAddress, is_link_local
from broker_config.origin import Origin
from broker_config.proxy import Proxy

from .dns import NameNotResolved
from .handshake import ProxyFailed, Talk
from .resolver import AddressRefused, ask_system


async def dial(proxy: Proxy, tls: ssl.SSLContext | None, *, to: Origin | None = None) -> Talk:
    """`to` is what is going to be asked for. Loopback is of this machine alone: a proxy elsewhere is not
    asked for it, as it would take it for its own.

    Raises `ProxyFailed`, `AddressRefused`, and `OSError` where no address takes a connection.
    """
    addresses = await _addresses(proxy)
    if to is not None and to.is_loopback and not all(a.is_loopback for a in addresses):
        raise AddressRefused(f"{to} is on the runner's own machine, and the proxy {proxy} is not")
    trouble: OSError = OSError("its name has no address")
    loop = asyncio.get_running_loop()
    for address in addresses:
        try:
            _, talk = await loop.create_connection(
                Talk, str(address), proxy.port, ssl=tls, server_hostname=proxy.host if tls else None
            )
        except (ssl.SSLError, TimeoutError):
            raise
        except OSError as e:
            trouble = e
        else:
            return talk
    raise trouble


async def _addresses(proxy: Proxy) -> list[IPAddress]:
    try:
        found = await ask_system(proxy.host)
    except NameNotResolved as e:
        raise ProxyFailed(f"no connection: {e}") from None
    for address in found:
        if is_link_local(address):
            raise ProxyFailed(f"it leads to {address}, where no proxy is but a machine's metadata")
    return found
