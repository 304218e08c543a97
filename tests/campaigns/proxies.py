"""Proxies that fail in the middle of a job: every session must end ok, and none may go direct.

    uv run python -m tests.campaigns.proxies [--sessions 60] [--vus 4] [--own] [--json FILE]

`tb up` with Chromium, a site and three upstream proxies on loopback, which want credentials. When a quarter
of the sessions has ended, one proxy is killed; at half, another begins to refuse the credentials; soon after
that the killed one is there again (a job that lasts long enough finds out). Afterwards every session must be
ok; the site's connections must be those of the proxies, one for one; the job's log must tell what happened to
which proxy; and neither that log nor those of the processes may hold a password. With `--own` the job brings
the proxies itself, in place of a pool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from websockets.asyncio.client import connect

from broker_config import codec
from broker_config.api import Log, Progress, ServerMessage, Snapshot, Subscribe
from runner.browser import installer
from tests.acceptance.machine import Machine, Program, offered
from tests.support.ports import free_ports
from tests.support.proxies import UpstreamProxy, upstream
from tests.support.site import Site, open_site
from tests.support.waiting import eventually

USER, PASSWORD = "customer", "campaign-a91c55"
#: Seconds for one session, with all others beside it, on a busy machine.
PATIENCE = 6.0


class Scene(NamedTuple):
    server: str
    machine: Machine
    program: Program
    site: Site
    proxies: list[UpstreamProxy]

    async def tb(self, *arguments: str, stdin: str = "", within: float = 40.0) -> Any:
        return await self.machine.tb("--server", self.server, *arguments, stdin=stdin, within=within)


@asynccontextmanager
async def scene(root: Path) -> AsyncIterator[Scene]:
    machine = Machine(root / "machine", root / "bytecode")
    web, nats = free_ports(2)
    server = f"http://127.0.0.1:{web}"
    arguments = ["up", "--data-dir", str(root / "data"), "--port", str(web), "--nats-port", str(nats)]
    arguments += ["--anonymous", "admin"]
    try:
        async with (
            open_site() as site,
            upstream("http", user=USER, password=PASSWORD) as a,
            upstream("http", user=USER, password=PASSWORD) as b,
            upstream("socks5", user=USER, password=PASSWORD) as c,
            machine.running(*arguments, "--browser", "chromium", "--slots", "4") as program,
        ):
            await program.said("TrafficBuster serves", 30)
            await eventually(lambda: offered(server), 40, what="a runner is online", interval=0.1)
            yield Scene(server, machine, program, site, [a, b, c])
    finally:
        machine.clear()


async def run(it: Scene, sessions: int, vus: int, *, own: bool) -> dict[str, Any]:
    """Run the job, and strike; what became of it."""
    urls = [p.proxy.url for p in it.proxies]
    imported = await it.tb("proxies", "import", "three", "-", stdin="\n".join(urls))
    assert imported.code == 0, imported.err
    tested = await it.tb("proxies", "test", "three", "--url", f"{it.site.url}/", "--json")
    assert tested.code == 0, tested.err + tested.out
    spec = {
        "name": "proxies that fail",
        "targets": [{"url": f"{it.site.url}/"}],
        "sessions": sessions,
        "load": {"executor": "shared-sessions", "vus": vus},
        "behaviour": {"dwell": "300ms"},
        "egress": {"proxies": urls} if own else {"pool": "three"},
        # What a dying proxy cuts in the middle of an answer is a session's fault no more than the runner's.
        "retries": 4,
    }
    lines: list[str] = []
    done: list[str] = []
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=f"{it.server}/api/v1", timeout=30) as http:
        made = (await http.post("/jobs", json=spec)).json()
        job = made["job"]["id"]
        async with asyncio.timeout(30 + sessions * PATIENCE / vus):
            async for message in _followed(it.server, job):
                if isinstance(message, Log):
                    if message.log.event in ("line", "retry"):
                        lines.append(f"{message.log.level}: {message.log.text}")
                    continue
                ended = message.progress.counts.ended
                if len(done) < 1 and ended >= sessions / 4:
                    await it.proxies[0].kill()
                    done.append("killed")
                if len(done) == 1 and ended >= sessions / 2:
                    it.proxies[1].mood = "credentials"
                    done.append("refuses")
                if len(done) == 2 and ended >= sessions * 0.55:
                    await it.proxies[0].start()
                    done.append("back")
                if message.progress.state == "finished":
                    break
        view = (await http.get(f"/jobs/{job}")).json()
        records = (await http.get(f"/jobs/{job}/sessions?limit=1000")).json()["items"]
        texts = [made, view, records, (await http.get("/proxies/three")).json()]
    result = {
        "sessions": sessions,
        "own": own,
        "seconds": round(time.monotonic() - began, 1),
        "strikes": done,
        "counts": {k: view["job"]["counts"][k] for k in ("planned", "ok", "failed", "lost", "retried")},
        "errors": Counter(r["error"]["kind"] for r in records if r.get("error")),
        "by_proxy": {str(p.proxy): len(p.ports) for p in it.proxies},
        "site_connections": len(it.site.ports),
        "direct": sorted(
            (Counter(it.site.ports) - Counter(n for p in it.proxies for n in p.ports)).elements()
        ),
        "events": [line for line in lines if "proxy" in line],
    }
    return result | {"wrong": _wrong(result, it, json.dumps(texts) + "\n".join(lines))}


async def _followed(server: str, job: str) -> AsyncIterator[Log | Progress | Snapshot]:
    async with connect(server.replace("http", "ws") + "/ws", max_size=None) as socket:
        await socket.send(codec.encode(Subscribe(jobs=[job], logs=True)).decode())
        async for text in socket:
            message = msgspec.json.decode(text, type=ServerMessage, dec_hook=codec.dec_hook)
            if isinstance(message, Log | Progress | Snapshot):
                yield message


def _wrong(result: dict[str, Any], it: Scene, texts: str) -> list[str]:
    wrong = []
    if result["counts"]["ok"] != result["sessions"]:
        wrong.append(f"not every session is ok: {result['counts']} {result['errors']}")
    if result["strikes"] != ["killed", "refuses", "back"]:
        wrong.append(f"the job was over before all had happened: {result['strikes']}")
    if result["direct"]:
        wrong.append(f"connections that no proxy made: {result['direct']}")
    if result["site_connections"] < result["sessions"]:
        wrong.append(f"the site has seen {result['site_connections']} connections only")
    killed, refusing, _ = (str(p.proxy) for p in it.proxies)
    for proxy, word in ((killed, ""), (refusing, "refuses the credentials")):
        if not any("proxy down" in e and proxy in e and word in e for e in result["events"]):
            wrong.append(f"no event says that {proxy} is down: {word}")
    logs = [texts, it.program.words, *(p.read_text() for p in it.machine.root.parent.rglob("runner.log"))]
    if any(PASSWORD in text or USER in text for text in logs):
        wrong.append("a log or an answer holds credentials")
    return wrong


async def campaign(sessions: int, vus: int, *, own: bool = False) -> dict[str, Any]:
    """Run it; `wrong` is empty if all is as it should be."""
    await installer.ensure(["chromium"], lambda _: None)
    with tempfile.TemporaryDirectory(prefix="proxies-") as name:
        async with scene(Path(name)) as it:
            return await run(it, sessions, vus, own=own)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--vus", type=int, default=4)
    parser.add_argument("--own", action="store_true", help="the job brings the proxies itself")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(campaign(args.sessions, args.vus, own=args.own))
    for key, value in result.items():
        if key in ("events", "wrong"):
            for line in value:
                print(f"{key.rstrip('s')}: {line}")
        else:
            print(f"{key}: {json.dumps(value)}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
