"""What requests leave in the audit log: one entry for each that changes something or is refused."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from click.testing import Result
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import orchestrator.web
from broker_config import codec
from broker_config.audit_actions import ACTIONS
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import RegisterRequest
from broker_config.people import DEFAULT_PROJECT
from broker_config.subjects import RUNNER_REGISTER
from cli.tb import app
from orchestrator.core.access import PUBLIC
from orchestrator.core.audit_note import AuditNote
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig
from orchestrator.web.typed_route import GuardedRoute
from tests.support.waiting import eventually
from tests.support.web_parts import SPEC, MemoryAuditLog, Stage, stage

DOCS = Path(__file__).parents[2] / "docs"
PARAMETER = re.compile(r"\{[^}]*\}")


def guarded() -> dict[tuple[str, str], GuardedRoute]:
    """Every route of the web side, by method and path."""
    out = {}
    for module in pkgutil.iter_modules(orchestrator.web.__path__, "orchestrator.web."):
        for value in vars(importlib.import_module(module.name)).values():
            for route in value if isinstance(value, list) else [value]:
                if isinstance(route, GuardedRoute):
                    out |= {(m, route.path): route for m in (route.methods or set()) - {"HEAD"}}
    return out


ROUTES = guarded()
CHANGES = sorted(key for key in ROUTES if key[0] != "GET")
CLOSED = sorted(key for key, route in ROUTES.items() if route.access != PUBLIC)


def requested(key: tuple[str, str]) -> tuple[str, str]:
    return key[0], PARAMETER.sub("nothing", key[1])


class Here:
    """A whole orchestrator and its admin."""

    def __init__(self, server: str, token: str, broker: str) -> None:
        self.server = server
        self.broker = broker
        self.token = token
        self.admin = self.client({"Authorization": f"Bearer {token}"})
        self.nobody = self.client({})

    def client(self, headers: dict[str, str], address: str | None = None) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        return httpx.AsyncClient(
            base_url=f"{self.server}/api/v1", headers=headers, timeout=20, transport=transport
        )

    async def last(self) -> int:
        return int((await self.admin.get("/audit/tail")).json()["last"])

    async def since(self, number: int) -> list[dict[str, Any]]:
        answer = await self.admin.get("/audit/tail", params={"after": number, "limit": 500})
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def tb(self, *words: str, columns: int = 200) -> Result:
        environment = {"TB_TOKEN": self.token, "COLUMNS": str(columns)}
        arguments = ["--server", self.server, *words]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)


@pytest_asyncio.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    directory = tmp_path_factory.mktemp("audit")
    async with EmbeddedServer(directory / "broker", sync_always=False) as broker:
        config = OrchestratorConfig(
            nats=broker.url, port=0, name="here", data_dir=str(directory), api_limit=0, login_limit=0
        )
        async with Orchestrator(config) as o:
            it = Here(o.url, (directory / "admin.token").read_text().strip(), broker.url)
            async with it.admin, it.nobody:
                yield it


def test_every_route_that_changes_something_names_its_action() -> None:
    assert len(CHANGES) > 25
    assert all(ROUTES[key].audits in ACTIONS for key in CHANGES)

    async def change(request: object) -> None: ...

    for audits, words in (("", "name its action"), ("job.explode", "is no action")):
        with pytest.raises(TypeError, match=words):
            GuardedRoute("/x", change, methods=["DELETE"], access=PUBLIC, audits=audits)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", CHANGES, ids=" ".join)
async def test_a_change_leaves_exactly_one_entry_whatever_becomes_of_it(
    here: Here, key: tuple[str, str]
) -> None:
    method, path = requested(key)
    before = await here.last()
    answer = await here.admin.request(method, path, json={})
    assert answer.status_code != 500
    [entry] = await here.since(before)
    assert (entry["action"], entry["by"]) == (ROUTES[key].audits, "here")
    assert (entry["kind"], entry["address"]) == ("local", "127.0.0.1")
    if answer.is_success:
        assert entry["result"] == "ok"
    elif answer.status_code in (401, 403):
        assert entry["result"] == "refused"
    else:
        assert entry["result"] == "failed"
        assert entry["detail"]


@pytest.mark.parametrize("key", CLOSED, ids=" ".join)
async def test_whoever_may_not_is_refused_and_leaves_exactly_one_entry(
    here: Here, key: tuple[str, str]
) -> None:
    method, path = requested(key)
    before = await here.last()
    # From an address of its own: refusals in great number from one are not noted each.
    address = f"127.0.1.{CLOSED.index(key) + 1}"
    async with here.client({}, address) as nobody:
        # Without a body: it is not even looked at.
        answer = await nobody.request(method, path)
    assert answer.status_code == 401
    [entry] = await here.since(before)
    assert entry["address"] == address
    assert entry["action"] == (ROUTES[key].audits or "read")
    assert (entry["result"], entry["kind"], entry["actor"]) == ("refused", "anonymous", "")


async def test_looking_leaves_nothing(here: Here) -> None:
    before = await here.last()
    for path in ("/jobs", "/jobs/nothing", "/runners", "/audit", "/health", "/openapi.json"):
        await here.admin.get(path)
    assert await here.since(before) == []


async def test_an_entry_names_who_did_what_to_what(here: Here) -> None:
    before = await here.last()
    job = (await here.admin.post("/jobs", json=SPEC)).json()["job"]["id"]
    await here.admin.post("/users", json={"name": "mia", "role": "viewer", "password": "correct horse 7"})
    login = {"name": "mia", "password": "correct horse 7", "keep": "bearer"}
    secret = (await here.nobody.post("/login", json=login)).json()["secret"]
    await here.nobody.post("/login", json=login | {"password": "wrong horse 7"})
    await here.nobody.post("/login", json=login | {"name": "wrong-horse-7"})
    async with here.client({"Authorization": f"Bearer {secret}"}) as mia:
        # It is there, and none of her business.
        assert (await mia.post(f"/jobs/{job}/cancel")).status_code == 404
        assert (await mia.get(f"/jobs/{job}")).status_code == 404
        assert (await mia.get("/audit")).status_code == 403
    entries = await here.since(before)
    told = [(e["action"], e["result"], e["actor"], e["object"], e["project"]) for e in entries]
    admin = told[0][2]
    assert told == [
        ("job.submit", "ok", admin, job, DEFAULT_PROJECT),
        ("user.add", "ok", admin, "mia", ""),
        ("login", "ok", "mia", "mia", ""),
        ("login", "refused", "", "mia", ""),
        ("login", "refused", "", "", ""),
        ("job.cancel", "refused", "mia", job, DEFAULT_PROJECT),
        ("read", "refused", "mia", f"/api/v1/jobs/{job}", DEFAULT_PROJECT),
        ("read", "refused", "mia", "/api/v1/audit", ""),
    ]
    assert admin
    assert entries[5]["credential"]
    assert "horse" not in json.dumps(entries)
    assert secret not in json.dumps(entries)


async def test_sockets_and_runners_leave_their_entries_too(here: Here) -> None:
    url = f"ws{here.server.removeprefix('http')}/ws"
    before = await here.last()
    with pytest.raises(InvalidStatus):
        await connect(url, proxy=None)
    made = (await here.admin.post("/tokens", json={"name": "ci", "role": "viewer"})).json()
    async with connect(
        url, additional_headers={"Authorization": f"Bearer {made['secret']}"}, proxy=None
    ) as s:
        await here.admin.delete(f"/tokens/{made['token']['id']}")
        await s.wait_closed()
    wrong = codec.encode(RegisterRequest(runner="r9", instance="i", platforms=[], slots=1, protocol=99))
    async with connected(here.broker, name="runner") as nc:
        await nc.request(RUNNER_REGISTER, wrong, timeout=5)

    async def noted() -> list[tuple[str, ...]] | None:
        told = [(e["action"], e["result"], e["kind"], e["actor"]) for e in await here.since(before)]
        return told if len(told) >= 5 else None

    told = await eventually(noted, what="five entries")
    admin = next(actor for action, _, _, actor in told if action == "token.issue")
    assert sorted(told) == [
        ("runner.register", "refused", "runner", "r9"),
        ("socket.cut", "ok", "token", admin),
        ("socket.open", "refused", "anonymous", ""),
        ("token.issue", "ok", "local", admin),
        ("token.revoke", "ok", "local", admin),
    ]


async def test_the_command_line_shows_checks_and_exports(here: Here, tmp_path: Path) -> None:
    await here.admin.post("/jobs", json=SPEC)
    await here.admin.post("/jobs/plan", json=SPEC)
    shown = await here.tb("audit", "--action", "job", "--limit", "2")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert ["job.submit" in lines[-2], "job.plan" in lines[-1]] == [True, True]
    rows = [json.loads(r) for r in (await here.tb("audit", "--since", "1h", "--json")).stdout.splitlines()]
    assert len(rows) == 50
    assert rows[-1]["action"] == "job.plan"
    assert rows[-1]["number"] - rows[0]["number"] == 49

    file = tmp_path / "audit.jsonl"
    exported = await here.tb("audit", "--export", str(file))
    assert exported.exit_code == 0, exported.output
    head = json.loads(file.read_bytes().splitlines()[-1])["hash"]
    assert f"head: {head}" in exported.stdout
    verified = await here.tb("audit", "--verify", "--head", head)
    assert verified.exit_code == 0
    assert "the head that was noted is in it; 0 came after" in verified.stdout
    offline = await here.tb("audit", "--verify", "--file", str(file), "--head", head, "--json")
    assert json.loads(offline.stdout)["holds"]

    # The recipe for those who trust none of this.
    [recipe] = re.findall(r"```python\n(.*?)```", (DOCS / "audit.md").read_text(), re.DOTALL)
    said: list[str] = []
    exec(recipe.replace('"audit.jsonl"', repr(str(file))), {"print": lambda *w: said.extend(w)})
    assert said == ["head:", head]

    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], *lines[4:]]))
    dropped = await here.tb("audit", "--verify", "--file", str(file))
    assert dropped.exit_code == 4
    assert "entry 4 is missing" in dropped.stdout
    file.write_text("".join(lines[:-1]))
    assert (await here.tb("audit", "--verify", "--file", str(file))).exit_code == 0
    cut = await here.tb("audit", "--verify", "--file", str(file), "--head", head)
    assert cut.exit_code == 4
    assert "cut off" in cut.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--follow", "--verify"], "give one of them"),
        (["--head", "a" * 64], "belong to --verify"),
        (["--verify", "--head", "abc"], "is not a hash"),
        (["--action", "job.explode"], "no such action"),
        (["--since", "yesterday"], "is no time"),
        (["--verify", "--file", "/nowhere/audit.jsonl"], "cannot be read"),
    ],
)
async def test_a_wrong_command_line_says_what_is_wrong(here: Here, words: list[str], said: str) -> None:
    done = await here.tb("audit", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


async def test_following_shows_what_comes(here: Here) -> None:
    waiting = asyncio.create_task(
        here.admin.get("/audit/tail", params={"after": await here.last(), "wait": 10})
    )
    await here.admin.post("/jobs/plan", json=SPEC)
    assert [e["action"] for e in (await waiting).json()["items"]] == ["job.plan"]


# --- the web side alone -------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def closed_log(nc: Any) -> AsyncIterator[tuple[Stage, MemoryAuditLog]]:
    async with stage(nc) as it:
        assert isinstance(it.state.audit_log, MemoryAuditLog)
        it.state.audit_log.full = True
        yield it, it.state.audit_log


async def test_what_cannot_be_noted_is_not_done(closed_log: tuple[Stage, MemoryAuditLog]) -> None:
    it, log = closed_log
    async with httpx.AsyncClient(base_url=it.api) as client:
        answer = await client.post("/jobs", json=SPEC)
        assert (answer.status_code, "audit log" in answer.json()["detail"]) == (503, True)
        assert it.jobs.jobs == {}
        assert (await client.get("/jobs")).status_code == 200
        log.full = False
        assert (await client.post("/jobs", json=SPEC)).status_code == 201
    assert [(n.action, n.result) for n in log.notes] == [("job.submit", "ok")]


async def test_a_page_of_somebody_else_leaves_a_refusal(nc: Any) -> None:
    async with stage(nc) as it, httpx.AsyncClient(base_url=it.api) as client:
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/jobs", json=SPEC, headers=headers)).status_code == 403
        assert isinstance(it.state.audit_log, MemoryAuditLog)
        [note] = it.state.audit_log.notes
        assert note == AuditNote(
            action="request",
            result="refused",
            kind="anonymous",
            address="127.0.0.1",
            object="/api/v1/jobs",
            detail=note.detail,
        )
