"""Tests of proxies, from the machine from which sessions leave."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from broker_config import codec
from broker_config.errors import BrokerUnavailable, MessageError, SecretUnavailable
from broker_config.messages import ControlReply
from broker_config.origin import Origin
from broker_config.proxy import Proxy
from broker_config.proxy_pool import MAX_TRIAL, TRIAL_LIMIT, ProxyTest, ProxyTrial
from runner.core.egress_policy import EgressPolicy, authorised
from runner.core.egress_pool import EgressPool
from runner.core.identity import product
from runner.gate.event import EgressEvent
from runner.gate.gate import Gate
from runner.gate.handshake import ProxyFailed, connect, socks5_greeting
from runner.gate.limits import GateLimits
from runner.gate.proxy_dial import dial

from .link import Link
from .secret_reader import SecretReader

log = logging.getLogger(__name__)

#: Proxies that are tested at once, and orders that may wait.
AT_ONCE = 20
MAX_WAITING = 4
_MAX_DETAIL = 160


class ProxyTests:
    """`put` takes an order, `run` carries them out until cancelled, one after the other.

    `wall` gives seconds since 1970, `clock` seconds for durations. `version` is the distribution's.
    """

    def __init__(
        self,
        link: Link,
        reader: SecretReader,
        runner: str,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        version: str,
    ) -> None:
        self._link = link
        self._reader = reader
        self._runner = runner
        self._wall = wall
        self._clock = clock
        self._version = version
        self._orders: asyncio.Queue[tuple[ProxyTrial, str]] = asyncio.Queue(MAX_WAITING)

    def put(self, trial: ProxyTrial | None, reply: str) -> ControlReply | None:
        """The refusal, or None: then `run` answers to the subject `reply`."""
        if trial is None:
            return ControlReply(ok=False, detail="the order names no pool")
        try:
            self._orders.put_nowait((trial, reply))
        except asyncio.QueueFull:
            return ControlReply(ok=False, detail="it has too many tests to do already; try again later")
        return None

    async def run(self) -> NoReturn:
        limits = GateLimits(proxy=TRIAL_LIMIT - 1)
        async with Gate(limits=limits, on_event=_unheard, clock=self._clock) as gate:
            while True:
                trial, reply = await self._orders.get()
                answer = await self._answer(gate, trial)
                if reply:
                    await self._link.send(reply, codec.encode(answer))

    async def _answer(self, gate: Gate, trial: ProxyTrial) -> ControlReply:
        try:
            found = await self._reader.trial(trial.ticket)
            url = trial.url
            if url:
                authorised([url])
        except (BrokerUnavailable, MessageError, SecretUnavailable, ValueError) as e:
            return ControlReply(ok=False, detail=str(e))
        if found is None:
            return ControlReply(ok=False, detail="the pool was changed meanwhile; try again")
        proxies = found[:MAX_TRIAL]
        places = asyncio.Semaphore(AT_ONCE)

        async def one(proxy: Proxy) -> ProxyTest:
            async with places:
                return await self._test(gate, proxy, url)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(p)) for p in proxies]
        return ControlReply(ok=True, tested=[t.result() for t in tasks])

    async def _test(self, gate: Gate, proxy: Proxy, url: str) -> ProxyTest:
        began = self._clock()
        try:
            async with asyncio.timeout(TRIAL_LIMIT):
                ok, detail = await (self._use(gate, proxy, url) if url else _greet(proxy))
        except TimeoutError:
            ok, detail = False, f"no answer within {TRIAL_LIMIT:g} s"
        except Exception as e:
            log.exception("the test of %s broke the runner's own code", proxy)
            ok, detail = False, f"the runner failed: {type(e).__name__}"
        return ProxyTest(
            ok=ok,
            at=self._wall(),
            ms=round((self._clock() - began) * 1000, 1),
            detail=detail[:_MAX_DETAIL],
            runner=self._runner,
        )

    async def _use(self, gate: Gate, proxy: Proxy, url: str) -> tuple[bool, str]:
        """Ask for the URL through the proxy, as a session does."""
        policy = EgressPolicy(
            origins=authorised([url]), product=product(self._version), tag="(test of a proxy)"
        )
        pool = EgressPool([msgspec.structs.replace(proxy, enabled=True)])
        async with gate.session(policy, pool) as lease:
            status = await _ask(urlsplit(lease.proxy_url).port or 0, url, self._version)
            await lease.settle()
            report, why = lease.report(), lease.explain(url)
        if report.egress_errors:
            return False, report.egress_errors[0].reason
        if why is not None:
            return False, why.detail
        if status == 0:
            return False, f"{Origin.of(url)} gave no answer through it"
        if status in (502, 503, 504):
            return False, f"the proxy, or {Origin.of(url)}, answered {status}"
        return True, f"{Origin.of(url)} answered {status}" if status > 1 else f"{Origin.of(url)} is reached"


async def _greet(proxy: Proxy) -> tuple[bool, str]:
    """Talk to the proxy alone. An HTTP proxy is asked for a tunnel to itself: refused or not, its answer
    tells whether it takes the credentials."""
    tls = ssl.create_default_context() if proxy.scheme == "https" else None
    try:
        talk = await dial(proxy, tls)
    except TimeoutError:
        raise
    except ProxyFailed as e:
        return False, str(e)
    except OSError as e:  # of TLS too
        return False, f"no connection: {e.strerror or e}"
    try:
        if proxy.scheme == "socks5":
            await socks5_greeting(talk, proxy)
        else:
            await connect(talk, proxy, proxy.host, proxy.port)
    except ProxyFailed as e:
        # Without a cause it has answered, and as a proxy does.
        answered = not e.certain and e.__cause__ is None
        return answered, "it answers" if answered else str(e)
    finally:
        talk.transport.abort()
    return True, "it answers"


async def _ask(port: int, url: str, version: str) -> int:
    """The status of the answer that the gate at this port gives to a request; 1 for a tunnel that stands, 0
    for none."""
    origin, parts = Origin.of(url), urlsplit(url)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.scheme == "https":
        head = f"CONNECT {host}:{origin.port} HTTP/1.1\r\nHost: {host}:{origin.port}\r\n\r\n"
    else:
        target = f"http://{host}:{origin.port}{parts.path or '/'}" + (
            f"?{parts.query}" if parts.query else ""
        )
        head = (
            f"GET {target} HTTP/1.1\r\nHost: {host}:{origin.port}\r\nUser-Agent: {product(version)}\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode())
        line = await reader.readline()
    except ConnectionError:
        return 0
    finally:
        writer.transport.abort()
    words = line.split(b" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return 1 if origin.scheme == "https" and status == 200 else status


def _unheard(_event: EgressEvent) -> None:
    pass
