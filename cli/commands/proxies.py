"""`tb proxies …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import Json, Wide

app = typer.Typer(
    help="Pools of proxies by which sessions can leave.", no_args_is_help=True, rich_markup_mode=None
)

PoolName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pool.")]
Proxies = Annotated[
    list[str] | None, typer.Argument(metavar="[HOST:PORT]…", help="As the list of the pool shows them.")
]

AllProxies = Annotated[bool, typer.Option("--all", help="All proxies of the pool.")]


@app.command("import")
def proxies_import(
    name: PoolName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="TXT or CSV, a proxy a line; - is stdin.")],
    replace: Annotated[bool, typer.Option("--replace", help="The pool is these alone, from now on.")] = False,
    json: Json = False,
) -> None:
    """Add proxies to a pool, or make it: host:port, host:port:user:password, or URLs."""
    with in_words():
        from cli import proxies as commands

        run(commands.take(client(), name, file, replace=replace, json=json))


@app.command("list")
def proxies_list(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show the proxies of this pool.")
    ] = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List pools, or the proxies of one, without their credentials."""
    with in_words():
        from cli import proxies as commands

        run(commands.show_list(client(), name, json=json, wide=wide))


@app.command("test")
def proxies_test(
    name: PoolName,
    url: Annotated[str, typer.Option("--url", help="Ask for this URL through each proxy.")] = "",
    runner: Annotated[str, typer.Option("--runner", help="Test from this runner.")] = "",
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Test each proxy of a pool from a runner; exit code 4 if an enabled one does not work."""
    with in_words():
        from cli import proxies as commands

        raise SystemExit(run(commands.test(client(), name, url=url, runner=runner, json=json, wide=wide)))


@app.command("enable")
def proxies_enable(
    name: PoolName, proxies: Proxies = None, everything: AllProxies = False, json: Json = False
) -> None:
    """Let sessions use proxies of a pool again."""
    _switch(name, proxies, everything, enabled=True, json=json)


@app.command("disable")
def proxies_disable(
    name: PoolName, proxies: Proxies = None, everything: AllProxies = False, json: Json = False
) -> None:
    """Keep proxies of a pool, and use them no more."""
    _switch(name, proxies, everything, enabled=False, json=json)


def _switch(name: str, proxies: list[str] | None, everything: bool, *, enabled: bool, json: bool) -> None:
    with in_words():
        from cli import proxies as commands

        work = commands.switch(
            client(), name, proxies or [], everything=everything, enabled=enabled, json=json
        )
        run(work)


@app.command("remove")
def proxies_remove(name: PoolName, json: Json = False) -> None:
    """Remove a pool. Sessions of jobs that still run by it fail."""
    with in_words():
        from cli import proxies as commands

        run(commands.remove(client(), name, json=json))
