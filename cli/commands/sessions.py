"""`tb sessions …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import JobId, Json

app = typer.Typer(help="The sessions of a job.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def sessions_list(
    job: JobId,
    status: Annotated[
        str | None, typer.Option("--status", help="ok, failed, cancelled, lost or dropped.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    json: Json = False,
) -> None:
    """List the ended sessions of a job, in the order in which they ended."""
    with in_words():
        from cli import fleet as commands

        run(commands.sessions(client(), job, status=status, limit=limit, json=json))
