"""`tb proxies …` against a served application and a real broker."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import Result
from typer.testing import CliRunner

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.provisioning import provision
from cli.tb import app
from tests.support.web_parts import stage

Tb = Callable[..., Awaitable[Result]]
LINES = "a.example:80\nb.example:81:joe:secret\n"
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module")
async def tb(broker: EmbeddedServer) -> AsyncIterator[Tb]:
    """Runs a command to its end."""
    async with connected(broker.url, name="cli proxies test") as nc, stage(nc) as web:
        await provision(nc)

        async def run(*arguments: str, stdin: str = "") -> Result:
            words = ["--server", web.server.url, "proxies", *arguments]
            result = await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin)
            assert "secret" not in result.output
            assert "Traceback" not in result.output
            return result

        yield run


@pytest.fixture
def name() -> str:
    return f"cli{next(_numbers)}"


async def test_import_list_switch_and_remove(tb: Tb, name: str, tmp_path: Path) -> None:
    file = tmp_path / "proxies.csv"
    file.write_text(
        "host,port,user,password\na.example,80,,\nb.example,81,joe,secret\nb.example,x,joe,secret\n"
    )
    done = await tb("import", name, str(file))
    assert done.exit_code == 0
    assert "line 4: it is not the URL of a proxy: the port is not one" in done.stderr
    assert f"pool {name}: 2 added, 1 lines not taken; it has 2, 2 enabled" in done.stderr
    again = await tb("import", name, "-", "--json", stdin="b.example:81:joe:secret2\nc.example:82\n")
    row = json.loads(again.stdout)
    assert (row["added"], row["changed"], row["pool"]["proxies"]) == (1, 1, 3)

    off = await tb("disable", name, "a.example:80", "c.example:82")
    assert "1 of 3 proxies are enabled" in off.stderr
    shown = await tb("list", name)
    assert [line.split()[:3] for line in shown.stdout.splitlines()[2:]] == [
        ["http://a.example:80", "disabled", "–"],
        ["http://b.example:81", "enabled", "yes"],
        ["http://c.example:82", "disabled", "–"],
    ]
    pools = {p["name"]: p for p in map(json.loads, (await tb("list", "--json")).stdout.splitlines())}
    assert (pools[name]["proxies"], pools[name]["enabled"]) == (3, 1)
    assert name in (await tb("list")).stdout
    on = await tb("enable", name, "--all", "--json")
    assert all(p["enabled"] for p in json.loads(on.stdout)["proxies"])

    replaced = await tb("import", name, "-", "--replace", stdin="d.example:1")
    assert "1 added; it has 1, 1 enabled" in replaced.stderr
    assert (await tb("remove", name)).exit_code == 0
    assert (await tb("list", name)).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "NAME", "/nowhere/x.txt"], 2, "'/nowhere/x.txt' cannot be read: there is no such"),
        (["import", "NAME", "-"], 2, "there is no proxy in it"),
        (["import", "a b", "-"], 2, "is not allowed"),
        (["list", "nowhere"], 2, "there is no pool 'nowhere'"),
        (["disable", "NAME"], 2, "give --all"),
        (["disable", "NAME", "--all", "a.example:80"], 2, "not both"),
        (["enable", "NAME", "z.example:1"], 2, "z.example:1 is not in the pool"),
        (["remove", "nowhere"], 2, "there is no pool 'nowhere'"),
        (["test", "NAME"], 4, "no runner is online"),
    ],
)
async def test_what_cannot_be_done_is_said(
    tb: Tb, name: str, arguments: list[str], code: int, words: str
) -> None:
    await tb("import", name, "-", stdin=LINES)
    result = await tb(
        *[name if a == "NAME" else a for a in arguments], stdin="x:secret" if arguments[1] == "a b" else ""
    )
    assert result.exit_code == code, result.output
    assert words in result.stderr


async def test_a_list_of_nothing_usable_is_refused_line_by_line(tb: Tb, name: str) -> None:
    result = await tb("import", name, "-", stdin="joe:secret:host:80\nx\n")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "tb: standard input: 2 things are wrong"
    assert result.stderr.splitlines()[1].startswith("  line 1: ")
