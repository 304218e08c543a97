"""Secrets over REST and by `tb secrets`: who may, what is said, and that no value comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.provisioning import provision
from cli.tb import app
from tests.support.web_parts import Stage, stage

CANARY = 'canary-3b7e / "x"'


@pytest_asyncio.fixture(scope="module")
async def web(broker: EmbeddedServer) -> AsyncIterator[Stage]:
    async with connected(broker.url, name="secrets web") as nc:
        await provision(nc)
        async with stage(nc) as web:
            web.projects.names |= {"shop", "other"}
            yield web


@pytest.fixture
async def http(web: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.api) as client:
        yield client


def shown(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_what_is_stored_is_listed_without_its_value(web: Stage, http: httpx.AsyncClient) -> None:
    jane = shown(web.people.put("jane", None, shop="operator"))
    path = "/projects/shop/secrets/WEB1"
    put = await http.put(path, json={"value": CANARY}, headers=jane)
    listed = await http.get("/projects/shop/secrets", headers=jane)
    assert put.status_code == listed.status_code == 200
    assert put.json() in listed.json()["items"]
    assert (put.json()["name"], put.json()["set_by"]) == ("WEB1", "jane")
    assert put.json().keys() == {"name", "set_at", "set_by"}
    gone = await http.delete(path, headers=jane)
    assert gone.json() == {"project": "shop", "name": "WEB1"}
    assert (await http.delete(path, headers=jane)).status_code == 404
    assert not any("canary" in r.text for r in (put, listed, gone))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_operators_of_the_project_alone(web: Stage, http: httpx.AsyncClient, method: str) -> None:
    path = "/projects/shop/secrets" + ("" if method == "GET" else "/WEB2")
    body: dict[str, Any] = {"json": {"value": CANARY}} if method == "PUT" else {}
    viewer = web.people.put("viewer", None, shop="viewer")
    foreign = web.people.put("foreign", "operator", other="operator")
    missing = {"viewer": 403, "foreign": 404}
    for name, secret in (("viewer", viewer), ("foreign", foreign)):
        answer = await http.request(method, path, headers=shown(secret), **body)
        assert answer.status_code == missing[name], name
    none = await http.request(method, path.replace("shop", "nonesuch"), headers=shown(foreign), **body)
    assert none.status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"value": "abc"}}, 422),
        ({"json": {"value": ["canary-3b7e"]}}, 422),
        ({"json": {"canary-3b7e": 1}}, 422),
        ({"json": {"value": "canary", "canary-3b7e": 1}}, 422),
        ({"json": "canary-3b7e"}, 422),
        ({"json": {"value": "canary-3b7e" * 6_000}}, 422),
        ({"json": {"value": "canary-3b7e\0"}}, 422),
        ({"json": {"value": "canary-3b7e" * 60_000}}, 413),
        ({"content": b'{"value": "canary-3b7e', "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"canary-3b7e"}, 415),
    ],
)
async def test_what_cannot_be_one_is_not_repeated(
    web: Stage, http: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    answer = await http.put("/projects/shop/secrets/BAD", **body)
    assert answer.status_code == status, answer.text
    assert "canary" not in answer.text
    assert not any("canary" in f"{n}" for n in web.state.audit_log.notes)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a.b", "a%20b", "x" * 65, "*"])
async def test_a_name_that_cannot_be_one(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.put(f"/projects/shop/secrets/{name}", json={"value": CANARY})
    assert answer.status_code == 422
    assert "no name of a secret" in answer.json()["detail"]


# --- tb secrets --------------------------------------------------------------------------------------------

Tb = Callable[..., Awaitable[Result]]


@pytest.fixture
def tb(web: Stage) -> Tb:
    async def run(*arguments: str, stdin: str = "") -> Result:
        words = ["--server", web.server.url, "secrets", *arguments]
        result = await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin)
        assert "canary" not in result.output + result.stderr
        assert "Traceback" not in result.output
        return result

    return run


async def test_set_list_and_remove(web: Stage, tb: Tb, tmp_path: Path) -> None:
    store = web.state.secrets
    done = await tb("set", "CLI1", "--project", "shop", stdin=f"{CANARY}\n")
    assert (done.exit_code, done.stderr) == (0, "secret CLI1 of project shop is set\n")
    assert await store.values("shop", ["CLI1"]) == {"CLI1": CANARY}  # type: ignore[attr-defined]
    file = tmp_path / "value"
    file.write_bytes(b"canary\r\nline 2\r\n")
    assert (await tb("set", "CLI2", "--file", str(file))).exit_code == 0
    assert await store.values("default", ["CLI2"]) == {"CLI2": "canary\r\nline 2"}  # type: ignore[attr-defined]
    (row,) = [json.loads(x) for x in (await tb("list", "--project", "shop", "--json")).stdout.splitlines()]
    assert row["name"] == "CLI1"
    assert "CLI2" in (await tb("list")).stdout
    assert (await tb("remove", "CLI2")).exit_code == 0
    assert (await tb("remove", "CLI2")).exit_code == 2
    assert (await tb("remove", "CLI1", "--project", "shop")).exit_code == 0
    assert "no secrets; tb secrets set NAME" in (await tb("list", "--project", "shop")).stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("set", "a.b"), "canary", "no name of a secret"),
        (("set", "A"), "", "it is empty"),
        (("set", "A"), "\n", "it is empty"),
        (("set", "A"), "canary" * 11_000, "limit of 64 KiB"),
        (("set", "A", "--file", "none.txt"), "", "No such file"),
        (("set", "A", "--project", "nonesuch"), "canary", "no project 'nonesuch'"),
    ],
)
async def test_what_cannot_be_set(tb: Tb, arguments: tuple[str, ...], stdin: str, words: str) -> None:
    done = await tb(*arguments, stdin=stdin)
    assert done.exit_code == 2, done.output
    assert words in done.stderr


async def test_a_value_is_never_an_argument(tb: Tb) -> None:
    done = await tb("set", "A", "value")
    assert done.exit_code == 2
    assert "unexpected extra argument" in done.stderr.lower()
