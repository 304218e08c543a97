"""`tb sessions …`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.failure import in_words

from .context import client, run
from .options import JobId, Json, Wide

app = typer.Typer(help="The sessions of a job.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def sessions_list(
    job: JobId,
    status: Annotated[
        Literal["ok", "failed", "cancelled", "lost", "dropped"] | None,
        typer.Option("--status", help="Only those that ended so."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List the ended sessions of a job, in the order in which they ended."""
    with in_words():
        from cli import fleet as commands

        run(commands.sessions(client(), job, status=status, limit=limit, json=json, wide=wide))
