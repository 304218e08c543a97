"""Pools of proxies in the bucket `proxies`: those that users keep, and those that jobs bring.

All of it is sealed. Nothing that leaves here holds credentials, but what `get`, `of_job` and
`used_by` give to those who pass them on to runners.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from broker_config import codec
from broker_config.api import ProxyImport, ProxyPoolRow, ProxyPoolView, ProxyView
from broker_config.errors import Conflict, NameRefused, PoolNotFound, Problem, SealBroken, SpecError
from broker_config.job_spec import JobSpec
from broker_config.proxy import Proxy, read_proxies
from broker_config.proxy_pool import (
    MAX_POOL_BYTES,
    ProxyPool,
    ProxyTest,
    ProxyTests,
    job_pool_key,
    mark,
    place,
    pool_key,
    pool_subject,
    tests_key,
)
from broker_config.seal import Seal
from broker_config.streams import PROXIES
from orchestrator.core.pool_edit import merged, nothing_usable, switched

from .jet import Jet

log = logging.getLogger(__name__)

STREAM = f"KV_{PROXIES.name}"
_ATTEMPTS = 20
#: How long the proxies that a job brought are kept after its end, so that it can be retried.
KEPT_DAYS = 7
#: Tests that are kept of one pool; the oldest go.
_MAX_TESTS = 5_000

T = TypeVar("T")


class ProxyStore:
    """Every change is a compare-and-set. Every call may raise `BrokerUnavailable`; those that name a pool
    raise `PoolNotFound`."""

    def __init__(self, jet: Jet, seal: Seal, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._seal = seal
        self._clock = clock

    # --- pools of users ----------------------------------------------------------------------------------

    async def names(self) -> list[str]:
        prefix = pool_subject("pool.")
        subjects = await self._jet.subjects(STREAM, pool_subject("pool.*"))
        return sorted(s.removeprefix(prefix) for s in subjects)

    async def pools(self) -> list[ProxyPoolRow]:
        rows = []
        for name in await self.names():
            found, _ = await self._read(pool_key(name), ProxyPool)
            if found is not None:
                rows.append(_row(name, found, await self._tests(name)))
        return rows

    async def get(self, name: str) -> tuple[ProxyPool, int]:
        """The pool and its revision."""
        try:
            key = pool_key(name)
        except NameRefused as e:
            raise PoolNotFound(f"there is no pool {name[:100]!r}: {e}") from None
        found, revision = await self._read(key, ProxyPool)
        if found is None:
            raise PoolNotFound(f"there is no pool {name!r}; {await self._known()}")
        return found, revision

    async def view(self, name: str) -> ProxyPoolView:
        pool, _ = await self.get(name)
        return _view(name, pool, await self._tests(name))

    async def take(self, name: str, text: str, *, replace: bool) -> ProxyImport:
        """Make the pool of the lines, or add them to it. Raises `SpecError` where the name or no line can be
        used, or the pool becomes too large."""
        try:
            key = pool_key(name)
        except NameRefused as e:
            raise SpecError([Problem("name", str(e))]) from None
        lines, problems = read_proxies(text)
        if not lines:
            raise nothing_usable(problems)
        for _ in range(_ATTEMPTS):
            found, revision = await self._read(key, ProxyPool)
            before = found.proxies if found is not None and not replace else []
            result = merged(before, lines)
            pool = ProxyPool(proxies=result.proxies, changed_at=self._clock())
            try:
                await self._write(key, pool, revision)
            except Conflict:
                continue
            return ProxyImport(
                pool=_row(name, pool, await self._tests(name)),
                added=result.added,
                changed=result.changed,
                problems=[{"where": p.where, "what": p.what} for p in (*problems, *result.problems)],
            )
        raise Conflict(f"the pool {name} changes too fast; try again")

    async def switch(self, name: str, proxies: Sequence[str] | None, *, enabled: bool) -> ProxyPoolView:
        """Enable or disable the named proxies; None is all. Raises `SpecError` for one that is not there."""
        for _ in range(_ATTEMPTS):
            before, revision = await self.get(name)
            pool = ProxyPool(proxies=switched(before, proxies, enabled=enabled), changed_at=self._clock())
            try:
                await self._write(pool_key(name), pool, revision)
            except Conflict:
                continue
            return _view(name, pool, await self._tests(name))
        raise Conflict(f"the pool {name} changes too fast; try again")

    async def remove(self, name: str) -> None:
        await self.get(name)
        await self.purge(pool_key(name))
        await self.purge(tests_key(name))

    async def tested(self, name: str, results: Sequence[tuple[Proxy, ProxyTest]]) -> list[ProxyView]:
        """Remember the tests; the proxies as they show now."""
        found, _ = await self._read(tests_key(name), ProxyTests)
        tests = dict(found.tests) if found is not None else {}
        tests |= {mark(p): t for p, t in results}
        kept = sorted(tests.items(), key=lambda item: item[1].at)[-_MAX_TESTS:]
        # Of two who test at the same time the later one's word counts; what is lost is tested again.
        await self._write(tests_key(name), ProxyTests(tests=dict(kept)), None)
        return [_proxy_view(p, t) for p, t in results]

    # --- of jobs -----------------------------------------------------------------------------------------

    async def check(self, name: str) -> None:
        """Raises `SpecError` where a job cannot leave by this pool."""
        try:
            pool, _ = await self.get(name)
        except PoolNotFound as e:
            raise SpecError([Problem("egress.pool", str(e))]) from None
        if not pool.enabled:
            what = f"all {len(pool.proxies)} proxies of the pool {name} are disabled; "
            raise SpecError([Problem("egress.pool", what + f"`tb proxies enable {name} --all` enables them")])

    async def brought(self, spec: JobSpec, retry_of: str | None) -> list[Proxy]:
        """The job's own proxies, with their credentials: those of the spec, or of the job that it retries.

        Raises `SpecError` where the job cannot leave so, its pool included.
        """
        egress = spec.egress
        if egress.pool is not None:
            await self.check(egress.pool)
        if not egress.proxies or retry_of is None:
            return [Proxy.parse(text) for text in egress.proxies]
        proxies = await self.of_job(retry_of)
        if proxies is None:
            what = f"the proxies of job {retry_of} are no longer kept ({KEPT_DAYS} days after its end); "
            raise SpecError([Problem("egress.proxies", what + "submit a new job with them")])
        return proxies

    async def keep(self, job: str, proxies: Sequence[Proxy]) -> None:
        """Store the proxies that a job brings; once, however often it is called."""
        pool = ProxyPool(proxies=list(proxies), changed_at=self._clock())
        with contextlib.suppress(Conflict):
            await self._write(job_pool_key(job), pool, 0)

    async def of_job(self, job: str) -> list[Proxy] | None:
        """The proxies that the job brought, with their credentials; None if they are kept no longer."""
        found, _ = await self._read(job_pool_key(job), ProxyPool)
        return None if found is None else found.proxies

    async def used_by(self, job: str, pool: str | None) -> tuple[ProxyPool, int]:
        """What a job of this `egress.pool` leaves by, for its runners, and its revision."""
        if pool is not None:
            return await self.get(pool)
        found, revision = await self._read(job_pool_key(job), ProxyPool)
        if found is None:
            raise PoolNotFound(f"the proxies of job {job} are kept no longer")
        return found, revision

    async def jobs(self) -> list[tuple[str, float]]:
        """The jobs whose own proxies are kept, and since when."""
        prefix = pool_subject("job.")
        out = []
        for subject in await self._jet.subjects(STREAM, pool_subject("job.*")):
            found, _ = await self._read(subject.removeprefix(pool_subject("")), ProxyPool)
            if found is not None:
                out.append((subject.removeprefix(prefix), found.changed_at))
        return out

    async def purge(self, key: str) -> None:
        """Remove the key, without a trace of what it held."""
        await self._jet.api(f"STREAM.PURGE.{STREAM}", {"filter": pool_subject(key)})

    async def seal_all(self) -> int:
        """Seal what is not, or with an older key; how many that were."""
        prefix, sealed = pool_subject(""), 0
        for subject in await self._jet.subjects(STREAM, pool_subject(">")):
            entry = await self._jet.get(STREAM, subject)
            if entry is None or entry.deleted or self._seal.is_current(entry.value):
                continue
            at, data = place(subject.removeprefix(prefix)), entry.value
            try:
                data = self._seal.open(at, data) if self._seal.is_sealed(data) else data
                await self._jet.publish(subject, self._seal.seal(at, data), expected_last=entry.revision)
            except SealBroken as e:
                log.warning("%s", e)
            except Conflict:
                continue  # whoever has changed it has sealed it
            else:
                sealed += 1
        return sealed

    # --- the bucket --------------------------------------------------------------------------------------

    async def _tests(self, name: str) -> dict[str, ProxyTest]:
        found, _ = await self._read(tests_key(name), ProxyTests)
        return {} if found is None else found.tests

    async def _read(self, key: str, kind: type[T]) -> tuple[T | None, int]:
        entry = await self._jet.get(STREAM, pool_subject(key))
        if entry is None or entry.deleted:
            return None, 0 if entry is None else entry.revision
        data = entry.value
        if self._seal.is_sealed(data):
            data = self._seal.open(place(key), data)
        return codec.decode(data, kind), entry.revision

    async def _write(self, key: str, value: ProxyPool | ProxyTests, revision: int | None) -> None:
        data = codec.encode(value)
        if len(data) > MAX_POOL_BYTES:
            kilobytes = f"{len(data) // 1000} KB; at most {MAX_POOL_BYTES // 1000} KB"
            raise SpecError([Problem("lines", f"the pool has {kilobytes} can be stored; make two of it")])
        await self._jet.publish(pool_subject(key), self._seal.seal(place(key), data), expected_last=revision)

    async def _known(self) -> str:
        names = await self.names()
        if not names:
            return "there are none yet; `tb proxies import NAME FILE` makes one"
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return f"there are: {', '.join(names[:20])}{more}"


def _row(name: str, pool: ProxyPool, tests: dict[str, ProxyTest]) -> ProxyPoolRow:
    results = [t.ok for p in pool.enabled if (t := tests.get(mark(p)))]
    return ProxyPoolRow(
        name=name,
        proxies=len(pool.proxies),
        enabled=len(pool.enabled),
        working=sum(results),
        failing=len(results) - sum(results),
        changed_at=pool.changed_at,
    )


def _view(name: str, pool: ProxyPool, tests: dict[str, ProxyTest]) -> ProxyPoolView:
    views = [_proxy_view(p, tests.get(mark(p))) for p in pool.proxies]
    return ProxyPoolView(name=name, changed_at=pool.changed_at, proxies=views)


def _proxy_view(proxy: Proxy, test: ProxyTest | None) -> ProxyView:
    return ProxyView(proxy=str(proxy), enabled=proxy.enabled, credentials=proxy.user is not None, tested=test)
