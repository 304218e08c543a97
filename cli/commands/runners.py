"""`tb runners …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import Json

app = typer.Typer(help="The machines that run browsers.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def runners_list(json: Json = False) -> None:
    """List runners, online ones first."""
    with in_words():
        from cli import fleet as commands

        run(commands.runners(client(), json=json))


@app.command("show")
def runners_show(
    runner: Annotated[str, typer.Argument(metavar="RUNNER", help="Id of the runner.")], json: Json = False
) -> None:
    """Show one runner and what it runs."""
    with in_words():
        from cli import fleet as commands

        run(commands.runner(client(), runner, json=json))
