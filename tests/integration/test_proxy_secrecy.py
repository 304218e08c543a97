"""Passwords of proxies can be read nowhere: in no stream, bucket, message, answer, log or file."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from nats.aio.msg import Msg
from websockets.asyncio.client import connect

from broker_config import codec
from broker_config.api import Subscribe
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import Dispatch
from orchestrator.bus.jet import Jet
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.service import Runner
from runner.settings import RunnerConfig
from runner.work.executor import Say
from tests.support.gate_executor import GateExecutor
from tests.support.proxies import upstream
from tests.support.site import open_site
from tests.support.waiting import eventually

USER, PASSWORD = "canaryuser", "canary-7d1f0a"
SECRETS = [
    USER.encode(),
    PASSWORD.encode(),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()),
]


class Blabbing(GateExecutor):
    """Its second session breaks with all that it knows in the error."""

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        if dispatch.session == 2 and pool is not None:
            say("line", f"{pool.states}")
            raise RuntimeError(f"{pool.states} {[s.proxy for s in pool.states]}")
        return await super().run(dispatch, say, pool)


class Ear:
    """All that is to be looked through, by where it was heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def add(self, where: str, data: bytes | str) -> None:
        self.heard.append((where, data.encode() if isinstance(data, str) else data))

    async def message(self, msg: Msg) -> None:
        self.add(msg.subject, msg.data + repr(msg.headers).encode())

    def found(self) -> list[str]:
        return [f"{where}: {data[:300]!r}" for where, data in self.heard if any(s in data for s in SECRETS)]


async def stored(jet: Jet) -> list[tuple[str, bytes, dict[str, str]]]:
    """Every message of every stream."""
    names = [s["config"]["name"] for s in (await jet.api("STREAM.LIST"))["streams"]]
    out = []
    for name in names:
        out += [(f"{name} {m.subject}", m.data, dict(m.headers)) for m in await jet.read_all(name, ">")]
    return out


@pytest.mark.parametrize("own", [False, True], ids=["a pool", "proxies of the job"])
async def test_credentials_can_be_read_nowhere(
    own: bool, own_broker: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ear = Ear()
    async with (
        open_site() as site,
        upstream("http", user=USER, password=PASSWORD) as good,
        upstream("http", user=USER, password="other") as refusing,
        upstream("socks5", user=USER, password=PASSWORD) as dead,
        connected(own_broker.url, name="ear") as nc,
        Orchestrator(OrchestratorConfig(nats=own_broker.url, port=0, anonymous="admin")) as orchestrator,
        httpx.AsyncClient(base_url=f"{orchestrator.url}/api/v1", timeout=20) as http,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        await dead.kill()
        urls = [f"http://{USER}:{PASSWORD}@127.0.0.1:{p.port}" for p in (good, refusing)]
        urls += [f"127.0.0.1:{dead.port}:{USER}:{PASSWORD}"]
        await nc.subscribe(">", cb=ear.message)
        runner = Runner(
            RunnerConfig(
                data_dir=tmp_path / "runner", nats=own_broker.url, name="r1", slots=2, saturation_busy=2.0
            ),
            Blabbing(),
        )
        group.create_task(runner.run())

        async def ask(method: str, path: str, **options: Any) -> Any:
            answer = await http.request(method, path, **options)
            ear.add(f"{method} {path}", answer.content + repr(answer.headers).encode())
            return answer.json()

        await ask("PUT", "/proxies/mine", json={"lines": "\n".join([*urls, urls[0], f"x:{PASSWORD}"])})
        await eventually(runner.registered.is_set, what="registered")
        for body in ({}, {"url": f"{site.url}/"}):
            await eventually(lambda: orchestrator.fleet.platforms(), what="a runner")
            report = await ask("POST", "/proxies/mine/test", json=body)
            assert [p["tested"]["ok"] for p in report["items"]] == [True, False, False]
        egress = {"proxies": urls} if own else {"pool": "mine"}
        spec = {"targets": [{"url": f"{site.url}/"}], "sessions": 6, "egress": egress, "retries": 0}
        for wrong in (
            {"proxies": [f"{USER}:{PASSWORD}:host:80"]},
            {"proxies": urls[0]},
            {"proxies": [{"url": urls[0]}]},
            {"proxies": urls, "pool": "mine"},
        ):
            problem = await ask("POST", "/jobs", json=spec | {"egress": wrong})
            assert problem["status"] == 422
        headers = {"Idempotency-Key": "one"}
        job = (await ask("POST", "/jobs", json=spec, headers=headers))["job"]["id"]
        assert (await ask("POST", "/jobs", json=spec, headers=headers))["job"]["id"] == job
        async with connect(orchestrator.url.replace("http", "ws") + "/ws", max_size=None) as socket:
            await socket.send(codec.encode(Subscribe(jobs=[job], logs=True, fleet=True)).decode())
            async for text in socket:
                ear.add("/ws", text)
                message = json.loads(text)
                if message["type"] in ("progress", "snapshot") and message["progress"]["state"] == "finished":
                    break
        view = await ask("GET", f"/jobs/{job}")
        assert view["job"]["counts"]["ok"] == 5
        assert view["job"]["counts"]["failed"] == 1
        again = await ask("POST", f"/jobs/{job}/retry")
        paths = ["/jobs", "/proxies", "/proxies/mine", "/runners", "/runners/r1", "/openapi.json"]
        for path in [*paths, *(f"/jobs/{job}{p}" for p in ("/detail", "/sessions", "/audit"))]:
            await ask("GET", path)
        await ask("PATCH", "/proxies/mine", json={"enabled": False, "proxies": urls[:1]})
        await ask("PATCH", "/proxies/mine", json={"enabled": False, "proxies": ["u:p", urls[0] + "x"]})
        await eventually_finished(http, again["job"]["id"])
        kept = 0
        for subject, data, headers in await stored(Jet(nc)):
            kept += subject.startswith(("KV_proxies $KV.proxies.pool", "KV_proxies $KV.proxies.job"))
            ear.add(subject, data + repr(headers).encode())
        await ask("DELETE", "/proxies/mine")
        runner.drain()
    # The pool, and where the job brought its own, those of it and of its retry.
    assert kept == (3 if own else 1)
    assert any("refuses the credentials" in r.getMessage() for r in caplog.records)
    for record in caplog.records:
        ear.add(f"log of {record.name}", logging.Formatter("%(message)s").format(record))
    for file in (tmp_path / "runner").rglob("*"):
        if file.is_file():
            ear.add(str(file), file.read_bytes())
    heard = {where.split(".")[0] for where, _ in ear.heard}
    assert {"job", "runner", "/ws"} <= heard, "it did listen"
    assert any(where.startswith("PROGRESS") for where in heard)
    assert any(where.startswith("job.dispatch") for where, _ in ear.heard)
    assert ear.found() == []


async def eventually_finished(http: httpx.AsyncClient, job: str) -> None:
    async def finished() -> bool:
        return bool((await http.get(f"/jobs/{job}")).json()["job"]["state"] == "finished")

    await eventually(finished, what="the retry is finished")


def test_a_proxy_is_shown_without_its_credentials_wherever_it_stands() -> None:
    from broker_config.proxy import Proxy
    from broker_config.proxy_pool import ProxyPool

    proxy = Proxy.parse(f"p.example:1:{USER}:{PASSWORD}")
    pool = EgressPool([proxy])
    shown = f"{proxy} {[proxy]} {ProxyPool(proxies=[proxy])} {pool.states} {msgspec.structs.replace(proxy)!r}"
    assert not any(s in shown.encode() for s in SECRETS)
