"""Pools of proxies on a real broker: REST, submission of jobs, retries, the end of what jobs brought."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import Conflict, PoolNotFound, SpecError
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.provisioning import provision
from broker_config.seal import Seal
from orchestrator.bus.jet import Jet
from orchestrator.bus.job_retry import retry_spec
from orchestrator.bus.job_store import JobStore
from orchestrator.bus.proxy_store import KEPT_DAYS
from orchestrator.bus.proxy_sweep import WITHOUT_JOB, ProxySweep
from tests.support.web_parts import Stage, stage

LINES = "a.example:80\nb.example:81:joe:secret\nsocks5://joe:secret@c.example\n"
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module")
async def store(broker: EmbeddedServer) -> AsyncIterator[JobStore]:
    async with connected(broker.url, name="proxies test") as client:
        await provision(client)
        yield JobStore(
            Jet(client),
            seal=Seal(bytes(32)),
            clock=time.time,
            new_id=lambda: f"proxyjob{next(_numbers):03d}",
            new_seed=lambda: 7,
        )


@pytest_asyncio.fixture(scope="module")
async def web(store: JobStore, broker: EmbeddedServer) -> AsyncIterator[Stage]:
    async with connected(broker.url, name="proxies web") as client, stage(client) as it:
        yield it


@pytest_asyncio.fixture(scope="module")
async def http(web: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.api) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"pool{next(_numbers)}"


def spec(**egress: Any) -> Any:
    return read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 4, "egress": egress})


async def submit(store: JobStore, what: Any, key: str | None = None, retry_of: str | None = None) -> Job:
    return (await store.submit(what, source="api", idempotency_key=key, retry_of=retry_of))[0]


# --- REST --------------------------------------------------------------------------------------------------


async def test_a_pool_is_made_shown_added_to_and_replaced(http: httpx.AsyncClient, name: str) -> None:
    made = await http.put(f"/proxies/{name}", json={"lines": LINES + "nonsense\na.example:80\n"})
    assert made.status_code == 200
    assert [p["where"] for p in made.json()["problems"]] == ["line 4", "line 5"]
    assert (made.json()["added"], made.json()["pool"]["proxies"]) == (3, 3)

    shown = await http.get(f"/proxies/{name}")
    assert [(p["proxy"], p["credentials"], p["enabled"]) for p in shown.json()["proxies"]] == [
        ("http://a.example:80", False, True),
        ("http://b.example:81", True, True),
        ("socks5://c.example:1080", True, True),
    ]
    more = await http.post(f"/proxies/{name}/lines", json={"lines": "d.example:1\nb.example:81:joe:new"})
    assert (more.json()["added"], more.json()["changed"], more.json()["pool"]["proxies"]) == (1, 1, 4)

    listed = {p["name"]: p for p in (await http.get("/proxies")).json()["items"]}
    assert (listed[name]["proxies"], listed[name]["enabled"]) == (4, 4)
    await http.put(f"/proxies/{name}", json={"lines": "e.example:1"})
    after = await http.get(f"/proxies/{name}")
    assert [p["proxy"] for p in after.json()["proxies"]] == ["http://e.example:1"]
    for answer in (made, shown, more, after):
        assert "secret" not in answer.text
        assert "joe" not in answer.text

    assert (await http.delete(f"/proxies/{name}")).json() == {"name": name}
    assert name not in {p["name"] for p in (await http.get("/proxies")).json()["items"]}
    assert (await http.get(f"/proxies/{name}")).status_code == 404


async def test_proxies_are_disabled_and_enabled(http: httpx.AsyncClient, name: str) -> None:
    await http.put(f"/proxies/{name}", json={"lines": LINES})
    off = await http.patch(f"/proxies/{name}", json={"enabled": False, "proxies": ["b.example:81"]})
    assert [p["enabled"] for p in off.json()["proxies"]] == [True, False, True]
    on = await http.patch(f"/proxies/{name}", json={"enabled": True, "all": True})
    assert [p["enabled"] for p in on.json()["proxies"]] == [True, True, True]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", "", {"lines": "host:joe:secret:80\n"}, 422, "line 1: what stands for the port"),
        ("PUT", "", {"lines": "# nothing\n"}, 422, "there is no proxy in it"),
        ("PUT", "", {"lines": "\n".join(f"h{n}.example:1:{'u' * 200}:p" for n in range(5000))}, 422, "KB"),
        ("PUT", "", {"line": "a.example:1"}, 422, "line"),
        ("PUT", "%20x", {"lines": "a.example:1"}, 422, "is not allowed"),
        ("PATCH", "", {"enabled": True}, 422, "name the proxies"),
        ("PATCH", "", {"enabled": True, "all": True, "proxies": ["a.example:80"]}, 422, "not both"),
        ("PATCH", "", {"enabled": True, "proxies": ["z.example:9"]}, 422, "z.example:9 is not in the pool"),
        ("PATCH", "none", {"enabled": True, "all": True}, 404, "there is no pool"),
        ("DELETE", "none", None, 404, "there is no pool"),
        ("GET", "none*", None, 404, "there is no pool"),
        ("POST", "/test", {}, 503, "no runner is online"),
        ("POST", "/test", {"first": -1}, 422, "first"),
    ],
)
async def test_what_cannot_be_done_is_said(
    http: httpx.AsyncClient, name: str, method: str, path: str, body: Any, status: int, words: str
) -> None:
    await http.put(f"/proxies/{name}", json={"lines": LINES})
    answer = await http.request(method, f"/proxies/{name}{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert "secret" not in answer.text


# --- jobs --------------------------------------------------------------------------------------------------


async def test_a_job_leaves_by_a_pool_that_there_is(store: JobStore, name: str) -> None:
    await store.proxies.take(name, LINES, replace=True)
    assert (await submit(store, spec(pool=name))).spec.egress.pool == name
    with pytest.raises(SpecError, match=rf"egress\.pool: there is no pool 'nowhere'; there are: .*{name}"):
        await submit(store, spec(pool="nowhere"))
    with pytest.raises(SpecError, match=r"egress\.pool: there is no pool 'a\.b"):
        await submit(store, spec(pool="a.b"))
    await store.proxies.switch(name, None, enabled=False)
    with pytest.raises(
        SpecError, match=rf"egress\.pool: all 3 proxies .* are disabled; `tb proxies enable {name}"
    ):
        await submit(store, spec(pool=name))


async def test_the_proxies_of_a_job_are_kept_apart_from_its_spec(store: JobStore) -> None:
    job = await submit(store, spec(proxies=["a.example:80:joe:secret", "socks5://joe:secret@c.example:1"]))
    assert job.spec.egress.proxies == ["http://a.example:80", "socks5://c.example:1"]
    assert (await store.get(job.id)).spec == job.spec
    kept = await store.proxies.of_job(job.id)
    assert kept is not None
    assert [p.url for p in kept] == ["http://joe:secret@a.example:80", "socks5://joe:secret@c.example:1"]


async def test_a_repeated_submit_is_told_by_its_passwords_too(store: JobStore) -> None:
    one, other = spec(proxies=["a.example:80:joe:secret"]), spec(proxies=["a.example:80:joe:another"])
    key = f"key{next(_numbers)}"
    job = await submit(store, one, key)
    assert (await submit(store, one, key)).id == job.id
    with pytest.raises(Conflict, match="another spec"):
        await submit(store, other, key)
    kept = await store.proxies.of_job(job.id)
    assert kept is not None
    assert kept[0].password == "secret"


async def test_a_retry_has_the_proxies_of_its_job(store: JobStore) -> None:
    job = await submit(store, spec(proxies=["a.example:80:joe:secret"]))
    again = await submit(store, retry_spec(job, [2]), retry_of=job.id)
    assert again.spec.egress.proxies == ["http://a.example:80"]
    assert await store.proxies.of_job(again.id) == await store.proxies.of_job(job.id)
    # Whose retry fails is retried, too.
    third = await submit(store, retry_spec(again, [1]), retry_of=again.id)
    assert await store.proxies.of_job(third.id) == await store.proxies.of_job(job.id)
    await store.proxies.purge(f"job.{job.id}")
    with pytest.raises(SpecError, match=r"egress\.proxies: the proxies of job .* no longer kept"):
        await submit(store, retry_spec(job, [2]), retry_of=job.id)


async def test_what_jobs_brought_goes_some_time_after_their_end(store: JobStore) -> None:
    running = await submit(store, spec(proxies=["a.example:80"]))
    ended = await submit(store, spec(proxies=["a.example:80"]))
    document, revision = await store.read(ended.id)
    finished = msgspec.structs.replace(document, state="finished", ended_at=time.time())
    await store.write(finished, revision)
    await store.proxies.keep("neverstored", [])
    later = 0.0
    sweep = ProxySweep(store, store.proxies, clock=lambda: time.time() + later)

    async def kept() -> list[bool]:
        await sweep.sweep()
        jobs = (running.id, ended.id, "neverstored")
        return [await store.proxies.of_job(j) is not None for j in jobs]

    assert await kept() == [True, True, True]
    later = WITHOUT_JOB + 1
    assert await kept() == [True, True, False]
    later = KEPT_DAYS * 86_400 + 1
    assert await kept() == [True, False, False]


async def test_a_pool_that_is_removed_can_be_made_again(store: JobStore, name: str) -> None:
    await store.proxies.take(name, LINES, replace=False)
    await store.proxies.remove(name)
    with pytest.raises(PoolNotFound):
        await store.proxies.remove(name)
    await store.proxies.take(name, "a.example:1", replace=False)
    assert len((await store.proxies.view(name)).proxies) == 1
