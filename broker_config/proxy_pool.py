"""Pools of proxies as the bucket `proxies` keeps them, the only place where credentials of proxies stand.

A pool that users keep stands under `pool.<name>`, the proxies that a job brings itself under `job.<id>`, and
the last tests of a pool under `tests.<name>`. All is sealed (`broker_config.seal`). Pools are written with
compare-and-set on their revision.
"""

from __future__ import annotations

import hashlib

import msgspec

from .proxy import Proxy
from .streams import PROXIES
from .subjects import token

#: Of a pool as it is stored; the broker takes messages of 1 MiB.
MAX_POOL_BYTES = 900_000
#: Proxies that one order to a runner tests, and seconds that it may take with one of them.
MAX_TRIAL = 40
TRIAL_LIMIT = 8.0


class ProxyPool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document. Proxies have their turn in this order."""

    proxies: list[Proxy]
    #: Seconds since 1970.
    changed_at: float = 0.0

    @property
    def enabled(self) -> list[Proxy]:
        return [p for p in self.proxies if p.enabled]


class ProxyTest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one test of a proxy has shown. `detail` is in words, without credentials."""

    ok: bool
    #: Seconds since 1970.
    at: float = 0.0
    #: Until the proxy had answered, ms.
    ms: float = 0.0
    detail: str = ""
    #: The runner from which it was tested.
    runner: str = ""


class ProxyTests(msgspec.Struct, frozen=True, kw_only=True):
    """The last tests of a pool, by `mark` of the proxy. Sealed, too: a mark is made of a password."""

    tests: dict[str, ProxyTest] = {}


class ProxyTrial(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → runner: test proxies of a pool, `count` of them from index `first` on.

    The runner asks for the proxies with the `ticket`; they are refused if the pool is no longer of this
    revision. Without `url` it talks to the proxy alone; with it the proxy is used to ask for the URL.
    """

    pool: str
    revision: int = 0
    first: int = 0
    count: int = MAX_TRIAL
    url: str = ""
    ticket: bytes = b""


def pool_key(name: str) -> str:
    """Raises `NameRefused`."""
    return f"pool.{token(name, 'pool')}"


def job_pool_key(job: str) -> str:
    """Raises `NameRefused`."""
    return f"job.{token(job, 'job id')}"


def tests_key(name: str) -> str:
    """Raises `NameRefused`."""
    return f"tests.{token(name, 'pool')}"


def pool_subject(key: str) -> str:
    """The subject under which the bucket keeps the key; `*` is allowed in it."""
    return f"$KV.{PROXIES.name}.{key}"


def place(key: str) -> str:
    """For what the value of this key of the bucket is sealed."""
    return f"{PROXIES.name}/{key}"


def identity(proxy: Proxy) -> tuple[str, str, int, str | None]:
    """What makes it another proxy than its neighbours in a pool."""
    return proxy.scheme, proxy.host, proxy.port, proxy.user


def mark(proxy: Proxy) -> str:
    """A short name of the proxy that says nothing of it; with another password it is another one."""
    return hashlib.blake2b(proxy.url.encode(), digest_size=8).hexdigest()
