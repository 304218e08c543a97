"""What is secret is found nowhere but where it belongs: at the site that was to get it, and in one answer.

Everything runs as users run it, with the log at its most talkative, and is made to fail; then all that can be
read is looked through.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import psutil
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.broker_login import BrokerLogin
from broker_config.connection import connected
from broker_config.keyring import Keyring
from cli.client import Client
from orchestrator.bus.jet import Jet
from tests.support.canaries import Canary, Generated, Search
from tests.support.ports import free_ports
from tests.support.proxies import upstream
from tests.support.secret_site import SecretSite, secret_site
from tests.support.waiting import eventually

from .machine import RUNNER, Machine, Result

SCRIPT = """
import asyncio
from urllib.parse import quote

async def break_down(secret):
    raise LookupError(f"a stray task knows {secret}")

async def journey(page, context, data):
    await page.goto(data["url"] + "?by=" + quote(data["secret:SCRIPT"]))
    await page.evaluate("text => console.log(text)", data["secret:SCRIPT"])
    stray = asyncio.create_task(break_down(data["secret:SCRIPT"]))
    async with step("type"):
        await page.get_by_label("Password").fill(data["secret:SCRIPT"])
    await asyncio.wait({stray})
    del stray
    async with step("fail"):
        raise ValueError(f"no {data['secret:SCRIPT']} there, nor {data}")
"""


@contextlib.asynccontextmanager
async def watched(machine: Machine, search: Search) -> AsyncIterator[None]:
    """Command lines and environments of all processes, again and again."""
    seen: set[str] = set()

    def look() -> None:
        for process in machine.processes():
            with contextlib.suppress(psutil.Error):
                line = "\0".join(process.cmdline())
                told = line + "\0" + "\0".join(f"{k}={v}" for k, v in process.environ().items())
                if told not in seen:
                    seen.add(told)
                    search.add(f"command line or environment of {process.name()}", told)

    async def again() -> None:
        while True:
            await asyncio.to_thread(look)
            await asyncio.sleep(0.5)

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert len(seen) > 5, "it did look"


class Api:
    """Asks, and keeps each answer for the search."""

    def __init__(self, http: httpx.AsyncClient, search: Search) -> None:
        self.http = http
        self.search = search

    async def __call__(
        self, method: str, path: str, *, keep: bool = True, status: int | None = None, **options: Any
    ) -> Any:
        answer = await self.http.request(method, path, **options)
        if keep:
            self.search.add(f"{method} {path}", answer.content + repr(answer.headers).encode())
        if status is not None:
            assert answer.status_code == status, answer.text[:500]
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.json() if is_json else answer.content


async def provoke(ask: Api, words: dict[str, str]) -> None:
    """Requests that cannot be carried out, with secrets where they do not belong."""
    for value in words.values():
        # A mistyped field is named back: what looks like one cannot be told from a secret.
        field = value if " " in value else f"{value}#"
        wrong: list[Any] = [
            {"value": [value]},
            {"value": value, field: 1},
            {field: value},
            value,
            {"value": value * 5_000},
        ]
        for body in wrong:
            await ask("PUT", "/projects/shop/secrets/BAD", json=body)
        await ask("PUT", "/projects/shop/secrets/BAD", content=f'{{"value": "{value}'.encode())
        await ask("PUT", "/proxies/bad", json={"lines": f"host:{value}\nhttp://u:{value}@/\n{value}"})
        wrong = [
            {"name": "jane", "password": value + "x"},
            {"name": "jane", "password": {field: 1}},
            {"password": value, field: 1},
        ]
        for body in wrong:
            await ask("POST", "/login", json=body)
        await ask("POST", "/users", json={"name": "bad name", "password": value})
        await ask("POST", "/runner-join", json={"token": value, "name": "r9", "public_key": value})
        await ask("GET", "/jobs", headers={"Authorization": f"Bearer {value.encode().hex()}x"}, keep=False)


async def every_get(ask: Api, **known: list[str]) -> int:
    """Ask every route that only reads, about everything that is known; how many answered."""
    document = await ask("GET", "/openapi.json")
    answered = 0
    for path, methods in document["paths"].items():
        path = path.removeprefix("/api/v1")
        if "get" not in methods or "/oidc/" in path:
            continue
        for filled in _filled(path, known):
            if path == "/audit/tail":
                filled += "?wait=0"
            answer = await ask.http.get(filled)
            ask.search.add(f"GET {filled}", answer.content + repr(answer.headers).encode())
            answered += answer.status_code == 200
    return answered


def _filled(path: str, known: dict[str, list[str]]) -> list[str]:
    """`/jobs/{id}` with each job, and so on: by what stands before the parameter."""
    paths = [""]
    for part in path.strip("/").split("/"):
        if part.startswith("{"):
            kind = paths[0].rpartition("/")[2] if paths else ""
            paths = [f"{p}/{value}" for p in paths for value in known.get(kind, ["nonesuch"])]
        else:
            paths = [f"{p}/{part}" for p in paths]
    return paths


def files_below(*folders: Path, but: set[str]) -> list[tuple[str, bytes]]:
    return [
        (str(path), path.read_bytes())
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not but & {path.name, path.parent.name}
    ]


async def test_secrets_are_found_where_they_belong_and_nowhere_else(machine: Machine, tmp_path: Path) -> None:
    rng = random.Random()
    typed, row, scripted = (Canary(n, rng) for n in ("typed", "row", "scripted"))
    linked = Canary("linked", rng, plain=True)
    password, user = Canary("password of a proxy", rng), Canary("user of a proxy", rng, plain=True)
    own = Canary("password of a job's own proxy", rng)
    login = Canary("password of a user", rng)
    web, broker = free_ports(2)
    search = Search()
    search.canaries = [typed, linked, row, scripted, password, user, own, login]
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    up: tuple[str, ...] = ("--log-level", "debug", "up", "--data-dir", str(data), "--port", str(web))
    up += (
        "--nats-port",
        str(broker),
        "--slots",
        "2",
        "--allow-scripts",
        "--verbose",
        "--secure",
        "--browser",
        "chromium",
    )
    async with (
        secret_site() as site,
        upstream("http", user=user.value, password=password.value) as good,
        upstream("http", user=user.value, password="other") as refusing,
        upstream("socks5", user=user.value, password=own.value) as socks,
        machine.running(*up) as program,
        watched(machine, search),
        asyncio.timeout(150),
    ):
        await program.said("TrafficBuster serves")
        admin = (data / "admin.token").read_text().strip()
        search.canaries.append(Generated("the machine's own credential", admin))
        async with (
            httpx.AsyncClient(
                base_url=f"{server}/api/v1", timeout=30, headers={"Authorization": f"Bearer {admin}"}
            ) as http,
            connected(
                f"nats://127.0.0.1:{broker}",
                name="ear",
                login=BrokerLogin.of_orchestrator(Keyring.load(data / "keys"), "ear"),
            ) as nc,
        ):
            ask = Api(http, search)

            async def hear(msg: Msg) -> None:
                search.add(f"message on {msg.subject}", msg.data + repr(msg.headers).encode())

            await nc.subscribe(">", cb=hear)
            await ask("POST", "/projects", json={"name": "shop"}, status=201)
            await ask(
                "POST",
                "/users",
                json={"name": "jane", "role": "operator", "password": login.value},
                status=201,
            )
            await ask("PUT", "/projects/shop/members/jane", json={"role": "operator"}, status=200)
            made = await ask(
                "POST",
                "/login",
                json={"name": "jane", "password": login.value, "keep": "bearer"},
                keep=False,
                status=200,
            )
            search.canaries.append(Generated("a login", made["secret"]))
            made = await ask("POST", "/tokens", json={"name": "t", "owner": "jane"}, keep=False, status=201)
            token = made["secret"]
            search.canaries.append(Generated("an API token", token))
            as_jane = {"Authorization": f"Bearer {token}"}
            await ask("GET", "/me", headers=as_jane, status=200)

            made = await ask("POST", "/runner-invites", json={"pool": "far"}, keep=False, status=201)
            search.canaries.append(Generated("a join token", made["token"]))
            (tmp_path / "join").write_text(made["token"])
            join: tuple[str, ...] = (
                "start",
                "--join-token-file",
                str(tmp_path / "join"),
                "--server",
                server,
                "--name",
                "far",
            )
            join += ("--data-dir", str(machine.root / "far"), "--log-level", "debug", "--browser", "chromium")
            async with machine.running(*join, module=RUNNER) as far:
                await far.said("runner far is registered", 30)
                far.interrupt()
                await far.ended(20)

            # From stdin, from a file, and by REST.
            tb = ("--server", server)

            async def set_secret(name: str, *arguments: str, stdin: str = "") -> Result:
                words = ("secrets", "set", name, "--project", "shop", *arguments)
                return await machine.tb(*tb, *words, stdin=stdin, anew=True)

            file = tmp_path / "secret.txt"
            file.write_text(linked.value + "\n")
            for done in (
                await set_secret("TYPED", stdin=typed.value),
                await set_secret("LINKED", "--file", str(file)),
            ):
                assert done.code == 0, done.err
                search.add("tb secrets set", done.out + done.err)
            file.unlink()
            for name, canary in (("ROW", row), ("SCRIPT", scripted)):
                path = f"/projects/shop/secrets/{name}"
                await ask("PUT", path, json={"value": canary.value}, headers=as_jane, status=200)
            lines = "\n".join(p.proxy.url for p in (refusing, good)).replace(
                ":other@", f":{password.words[0]}@"
            )
            await ask("PUT", "/proxies/mine", json={"lines": lines}, status=200)
            await eventually(lambda: offered(ask), 30, what="a runner is online", interval=0.2)
            for body in ({}, {"url": f"{site.url}/login"}):
                await ask("POST", "/proxies/mine/test", json=body, status=200)
            await provoke(ask, {c.name: c.value for c in search.canaries if isinstance(c, Canary)})

            jobs = [await submit(ask, s, as_jane) for s in specs(site, socks.proxy.url)]
            await asyncio.gather(*(follow(server, token, job, search) for job in jobs))
            views = [(await ask("GET", f"/jobs/{job}/sessions"))["items"] for job in jobs]
            kinds = [{s["error"]["kind"] for s in rows if s.get("error")} for rows in views]
            assert kinds == [{"step_failed"}, {"step_failed"}, {"step_failed"}], views
            jobs.append((await ask("POST", f"/jobs/{jobs[0]}/retry", headers=as_jane))["job"]["id"])
            await follow(server, token, jobs[-1], search)

            await commands(machine, tb, jobs[:3:2], search)
            answered = await every_get(
                ask,
                jobs=jobs,
                proxies=["mine"],
                projects=["shop", "default"],
                users=["jane"],
                runners=["far"],
            )
            assert answered > 20
            for job in jobs:
                for format in ("html", "json", "csv", "junit"):
                    await ask("GET", f"/jobs/{job}/report", params={"format": format}, status=200)
                page = await ask("GET", f"/jobs/{job}/artifacts", params={"limit": 500})
                assert {"har", "trace", "console", "screenshot"} <= {a["kind"] for a in page["items"]}
                for artifact in page["items"]:
                    search.add(artifact["name"], (await http.get(f"/artifacts/{artifact['name']}")).content)
            await stored(Jet(nc), search)
        program.interrupt()
        await program.ended(30)
        search.add("what tb up has said", program.words)
    for where, content in files_below(data, machine.root, but={"admin.token", "keys"}):
        search.add(where, content)
    names = {Path(where).name for where, _ in search.heard}
    logs = b"".join(content for where, content in search.heard if where.endswith("runner.log"))
    assert b"LookupError: a stray task knows ***" in logs
    assert {"orchestrator.log", "runner.log", "nats-server.log"} <= names, names
    assert any(where.endswith(".blk") for where, _ in search.heard), "the streams on disk"
    # They came to where they belong.
    sent = parse_qs(site.bodies["/in"], encoding="cp1252")
    assert sent["pw"] == [typed.value]
    assert sent["user"] == [row.value]
    assert any(linked.words[1] in path for path in site.asked)
    assert any(scripted.words[0] in path for path in site.asked)
    assert good.asked
    assert socks.asked
    assert search.found() == []


async def offered(ask: Api) -> bool:
    return bool((await ask.http.get("/runners/available-platforms")).json()["items"])


def specs(site: SecretSite, own_proxy: str) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "targets": [{"url": f"{site.url}/login"}],
        "sessions": 1,
        "retries": 1,
        "artifacts": {"keep": ["screenshot", "har", "trace", "video", "console"], "when": "always"},
    }
    steps = [
        {"goto": "/login?ref=${secret:LINKED}"},
        {"fill": {"label": "Name", "value": "${user.name}"}},
        {"fill": {"label": "Password", "value": "${secret:TYPED}"}},
        {
            "expect": {"label": "Password", "value": "not ${secret:TYPED}"},
            "optional": True,
            "timeout": "200ms",
        },
        {"screenshot": "for ${user.name}"},
        {"click": {"role": "button", "name": "Go"}},
    ]
    journey = {"steps": steps, "timeout": "5s"}
    rows = {"name": "user", "rows": [{"name": "${secret:ROW}"}]}
    return [
        {**common, "name": "by a pool", "journey": journey, "data": rows, "egress": {"pool": "mine"}},
        {
            **common,
            "name": "by its own",
            "journey": journey,
            "data": rows,
            "egress": {"proxies": [own_proxy]},
        },
        {**common, "name": "scripted", "script": {"source": SCRIPT, "secrets": ["SCRIPT"]}},
    ]


async def submit(ask: Api, spec: dict[str, Any], as_jane: dict[str, str]) -> str:
    headers = as_jane | {"Idempotency-Key": spec["name"]}
    return str((await ask("POST", "/jobs?project=shop", json=spec, headers=headers))["job"]["id"])


async def follow(server: str, token: str, job: str, search: Search) -> None:
    """All that the WebSocket says of the job, to its end."""
    async with Client(server, token=token) as client:
        async for message in client.follow(job, say=lambda text: None, logs=True):
            search.add("/ws", codec.encode(message))
            progress = getattr(message, "progress", None)
            if progress is not None and progress.state == "finished":
                return


async def commands(machine: Machine, tb: tuple[str, ...], jobs: list[str], search: Search) -> None:
    for job in jobs:
        for command in (
            ("jobs", "show", job),
            ("jobs", "report", job),
            ("sessions", "list", job, "--wide"),
        ):
            done = await machine.tb(*tb, *command)
            search.add(f"tb {' '.join(command)}", done.out + done.err)
            assert done.code == 0, done.err
    others: list[tuple[str, ...]] = [
        ("secrets", "list", "--project", "shop"),
        ("proxies", "list", "mine", "--wide"),
        ("audit",),
    ]
    for other in others:
        done = await machine.tb(*tb, *other)
        search.add(f"tb {' '.join(other)}", done.out + done.err)


async def stored(jet: Jet, search: Search) -> None:
    """Every message of every stream, as it is read."""
    names = [s["config"]["name"] for s in (await jet.api("STREAM.LIST"))["streams"]]
    assert {"KV_secrets", "KV_proxies", "PROGRESS", "KV_jobs"} <= set(names)
    for name in names:
        for m in await jet.read_all(name, ">"):
            search.add(f"{name} {m.subject}", m.data + b"\n" + json.dumps(dict(m.headers)).encode())
            search.add(f"{name} {m.subject}", m.data)
