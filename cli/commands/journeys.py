"""`tb journeys …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failure import in_words

from .context import run, settings
from .options import Browser, Json, Origins

app = typer.Typer(help="Check, record and import journeys.", no_args_is_help=True, rich_markup_mode=None)

Output = Annotated[Path | None, typer.Option("--output", help="File to write; standard output without.")]


@app.command("check")
def journeys_check(
    file: Annotated[
        str, typer.Argument(help="Job spec or journey (.yaml, .json, .toml; - is standard input), or .py.")
    ],
    url: Annotated[str | None, typer.Option("--url", help="Page to open, in place of its targets.")] = None,
    session: Annotated[int, typer.Option("--session", min=1, help="Which session of the job.")] = 1,
    browser: Browser = None,
    pictures: Annotated[Path, typer.Option("--pictures", help="Folder for its pictures.")] = Path(),
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", help="JSON file with values of secrets; without it they are asked for."),
    ] = None,
    allowed_origin: Origins = None,
    json: Json = False,
) -> None:
    """Run one session here, in a real browser, and show each step; exit code 1 if it fails."""
    with in_words():
        from cli.journey_check import check

        work = check(
            settings(allowed_origins=allowed_origin, browsers=browser),
            file,
            url=url,
            session=session,
            pictures=pictures,
            secrets=secrets,
            json=json,
        )
        raise SystemExit(run(work))


@app.command("import")
def journeys_import(
    file: Annotated[str, typer.Argument(help="Playwright code in Python, as its recorder writes it.")],
    output: Output = None,
    url: Annotated[str | None, typer.Option("--url", help="Page to open, in place of the first.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if something is left out.")] = False,
) -> None:
    """Turn recorded Playwright code into a job with a journey, and name what it cannot have."""
    with in_words():
        from cli import journeys as commands

        raise SystemExit(commands.import_(file, output=output, url=url, strict=strict))


@app.command("record")
def journeys_record(
    url: Annotated[str, typer.Argument(help="Page to begin with.")],
    output: Output = None,
    allowed_origin: Origins = None,
) -> None:
    """Open a window, and write what you do in it as a job with a journey."""
    with in_words():
        from cli import journeys as commands

        work = commands.record(settings(allowed_origins=allowed_origin), url, output=output)
        raise SystemExit(run(work))
