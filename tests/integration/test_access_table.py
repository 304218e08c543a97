"""The authorisation table: every route and socket message × who asks × whose object × how they show who they
are, each called for real and held against a table that was written by hand."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from broker_config import codec, nats_jwt
from broker_config.api import (
    API_PREFIX,
    ClientMessage,
    Fleet,
    ServerMessage,
    Snapshot,
    SocketProblem,
    Subscribe,
    Unsubscribe,
)
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.keyring import Keyring
from broker_config.object_store import ObjectMeta, meta_subject
from broker_config.operator_mode import runner_token
from orchestrator.web.app import GUARDED
from tests.support.access_table import (
    FOREIGN,
    NARROWED,
    OWN,
    PEOPLE,
    ROWS,
    SPEC,
    Outcome,
    Rights,
    Row,
    expected,
)
from tests.support.people_scene import Scene, people_scene

PASSWORD = "correct horse battery"
#: What a browser adds to what a page of ours asks for.
OURS = {"Sec-Fetch-Site": "same-origin"}
ROUTES = [f"{method} {r.path}" for r in GUARDED for method in sorted((r.methods or set()) - {"HEAD"})]


class Table:
    """`places` holds the objects of each project."""

    def __init__(self, scene: Scene, http: httpx.AsyncClient) -> None:
        self.scene = scene
        self.http = http
        self.places: dict[str, dict[str, str]] = {}
        self.bearers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}

    def headers(self, who: str, by: str) -> dict[str, str]:
        secret = (self.bearers if by == "bearer" else self.cookies).get(who)
        if secret is None:
            return {}
        if by == "bearer":
            return {"Authorization": f"Bearer {secret}"}
        return {"Cookie": f"tb-login={secret}"} | OURS

    async def log_in(self, who: str) -> None:
        """As a browser of theirs, without a password's time."""
        people = self.scene.orchestrator.people
        user = await people.users.get(who)
        _, secret = await people.credentials.log_in(user, address="", user_agent="", bearer=False)
        self.cookies[who] = secret

    async def call(
        self, route: str, row: Row, headers: dict[str, str], place: dict[str, str]
    ) -> Outcome | str:
        """What came of it; words where that is none of what may come."""
        path, body, hidden = (_filled(x, place) for x in (row.path, row.body, row.hidden))
        given = {"json": body} if body is not None else {}
        answer = await self.http.request(route.partition(" ")[0], path, headers=headers, **given)
        if row.mends == "kill":
            for kill in (await self.scene.admin.get("/kills"))["items"]:
                await self.scene.admin.ask("DELETE", f"/kills/{kill['id']}")
        return _outcome(answer, hidden)

    async def place(self, row: Row, project: str) -> dict[str, str]:
        place = dict(self.places[project])
        if row.makes == "kill":
            place["kill"] = (await self.scene.admin.post("/kills", {"job": place["job"]}))["id"]
        if row.makes == "token":
            made = await self.scene.admin.post("/tokens", {"name": "x", "role": "viewer", "owner": "victim"})
            place["token"] = made["token"]["id"]
        return place


def _filled(value: Any, place: dict[str, str]) -> Any:
    text = json.dumps(value)
    for name, found in place.items():
        text = text.replace(f"{{{name}}}", found)
    return json.loads(text)


def _outcome(answer: httpx.Response, hidden: str) -> Outcome | str:
    if answer.status_code == 401:
        return "unknown" if answer.headers.get("www-authenticate") else "401 without a challenge"
    if answer.status_code == 403:
        return "refused"
    if answer.status_code == 404 and hidden and answer.json()["detail"] == hidden:
        return "hidden"
    # No runner is there, no provider is configured: none of that is a matter of rights.
    if answer.status_code >= 500 and answer.status_code not in (501, 503):
        return f"{answer.status_code}: {answer.text[:200]}"
    return "open"


@pytest_asyncio.fixture(scope="module")
async def table(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Table]:
    folder: Path = tmp_path_factory.mktemp("access-table")
    async with (
        EmbeddedServer(folder / "nats", sync_always=False) as broker,
        people_scene(broker.url, folder / "data", api_limit=0, submit_limit=0, socket_limit=0) as scene,
        connected(broker.url, name="artifacts") as nc,
        httpx.AsyncClient(base_url=scene.url + API_PREFIX, trust_env=False) as http,
    ):
        it = Table(scene, http)
        for project in (OWN, FOREIGN):
            await scene.admin.post("/projects", {"name": project})
            job = (await scene.admin.post(f"/jobs?project={project}", SPEC))["job"]["id"]
            artifact = f"{job}/1.1/console.log"
            await _store(nc, artifact)
            it.places[project] = {"project": project, "job": job, "artifact": artifact}
        await scene.admin.post("/users", {"name": "victim"})
        for who, rights in PEOPLE.items():
            if rights is None:
                continue
            # The admin is no member: the role alone counts.
            asker = await scene.user(who, str(rights.fleet), **rights.projects)
            made = await asker.post("/tokens", {"name": "all of it"})
            it.bearers[who] = made["secret"]
            await it.log_in(who)
        whole = scene.asker(it.bearers["admin"])
        narrowed = await whole.post("/tokens", {"name": "narrow", "role": "viewer", "projects": [OWN]})
        it.bearers["narrowed"] = narrowed["secret"]
        it.bearers["runner"] = it.cookies["runner"] = _runner_credential()
        yield it


async def _store(nc: Client, name: str) -> None:
    """An artifact without content."""
    meta = ObjectMeta(name=name, bucket="artifacts", nuid="none", size=0, chunks=0, mtime="")
    await nc.jetstream().publish(meta_subject("artifacts", name), codec.encode(meta))


def _runner_credential() -> str:
    """As a runner has it, of whatever fleet."""
    keys, seed = Keyring.new(), nats_jwt.new_user_seed()
    return runner_token(
        keys, "r1", nats_jwt.public_key(seed), platforms=["linux-chromium"], pool=None, **_lifetime()
    )


def _lifetime() -> dict[str, float]:
    return {"now": time.time(), "expires_at": time.time() + 3600}


CELLS: list[tuple[str, Rights | None, str]] = [
    *((who, rights, by) for who, rights in PEOPLE.items() for by in ("bearer", "cookie")),
    ("narrowed", NARROWED, "bearer"),
]


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    assert sorted(ROUTES) == sorted(ROWS)


@pytest.mark.parametrize("route", ROUTES)
async def test_route(table: Table, route: str) -> None:
    wrong = []
    for row in ROWS[route]:
        for who, rights, by in CELLS:
            # Whose it is matters only where it is somebody's.
            owned = any(
                f"{{{x}}}" in f"{row.path} {row.body}" for x in ("project", "job", "artifact", "kill")
            )
            for project in (OWN, FOREIGN) if owned else (OWN,):
                headers, place = table.headers(who, by), await table.place(row, project)
                want = expected(row, rights, project, with_credential=bool(headers))
                got = await table.call(route, row, headers, place)
                if row.mends == "login" and by == "cookie" and rights is not None:
                    await table.log_in(who)
                if got != want:
                    wrong.append(f"{row.path} {row.body}: {who} by {by} in {project}: {got}, not {want}")
    assert not wrong, "\n".join(wrong)


# --- sockets -------------------------------------------------------------------------------------------


async def _socket(table: Table, who: str, by: str) -> dict[str, Any] | None:
    """How to connect, or None where no ticket is given."""
    url = "ws" + table.scene.url.removeprefix("http") + "/ws"
    if by == "bearer":
        return {"uri": url, "additional_headers": table.headers(who, by)}
    answer = await table.http.post("/socket-tickets", headers=table.headers(who, by))
    if answer.status_code != 201:
        assert answer.status_code == 401
        # The cookie itself is worth nothing there.
        return {"uri": url, "additional_headers": table.headers(who, by), "origin": table.scene.url}
    return {"uri": url, "subprotocols": answer.json()["protocols"], "origin": table.scene.url}


def test_every_socket_message_is_in_the_table() -> None:
    assert set(get_args(ClientMessage)) == {Subscribe, Unsubscribe}
    # Whoever adds a field that asks for something adds it to the test below.
    assert {f.name for f in msgspec.structs.fields(Subscribe)} == {"jobs", "fleet", "logs", "since"}
    assert {f.name for f in msgspec.structs.fields(Unsubscribe)} == {"jobs", "fleet"}


@pytest.mark.parametrize(("who", "rights", "by"), CELLS)
async def test_socket_messages(table: Table, who: str, rights: Rights | None, by: str) -> None:
    options = await _socket(table, who, by)
    assert options is not None
    if rights is None:
        with pytest.raises(InvalidStatus) as e:
            await connect(**options)
        assert e.value.response.status_code == 401
        return
    async with connect(**options) as connection:

        async def ask(message: Subscribe | Unsubscribe) -> Any:
            await connection.send(codec.encode(message).decode())
            return msgspec.json.decode(await connection.recv(), type=ServerMessage, dec_hook=codec.dec_hook)

        for project in (OWN, FOREIGN):
            job = table.places[project]["job"]
            for logs, since in ((False, {}), (True, {}), (False, {job: 0})):
                answer = await ask(Subscribe(jobs=[job], logs=logs, since=since))
                if rights.in_project(project) is not None:
                    assert isinstance(answer, Snapshot), answer
                else:
                    assert isinstance(answer, SocketProblem), answer
                    missing = await ask(Subscribe(jobs=["nobodys"], logs=logs, since={}))
                    assert answer.detail.replace(job, "nobodys") == missing.detail
            # Unsubscribing tells nothing, neither of one's own nor of others' jobs.
            await connection.send(codec.encode(Unsubscribe(jobs=[job])).decode())
        fleet = await ask(Subscribe(fleet=True))
        # All of them may look at the fleet.
        assert isinstance(fleet, Fleet), fleet
