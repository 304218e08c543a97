"""`tb artifacts …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import JobId, Json

app = typer.Typer(
    help="What sessions left behind: pictures, HAR, traces, videos, logs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OfSession = Annotated[int | None, typer.Option("--session", min=1, help="Only of this session.")]
IntoFolder = Annotated[
    Path | None, typer.Option("--output", help="Folder to put them into; artifacts-JOB by default.")
]


@app.command("list")
def artifacts_list(
    job: JobId,
    session: OfSession = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 1_000,
    json: Json = False,
) -> None:
    """List what the sessions of a job left behind."""
    with in_words():
        from cli import artifacts as commands

        run(commands.show_list(client(), job, session=session, limit=limit, json=json))


@app.command("get")
def artifacts_get(
    job: JobId,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Such as 17.1/failure.jpg; all without it.")
    ] = None,
    session: OfSession = None,
    output: IntoFolder = None,
    json: Json = False,
) -> None:
    """Get one artifact, those of a session, or all of a job, as files."""
    with in_words():
        from cli import artifacts as commands

        run(commands.get(client(), job, name, session=session, output=output, json=json))


@app.command("open")
def artifacts_open(
    job: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as 17.1/trace.zip.")],
    output: IntoFolder = None,
) -> None:
    """Get one artifact and show it: a trace in Playwright's viewer, others with the system's program."""
    with in_words():
        from cli import artifacts as commands

        raise SystemExit(run(commands.open_one(client(), job, name, output=output)))
