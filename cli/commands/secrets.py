"""`tb secrets …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import DEFAULT_PROJECT, Json, OfProject

app = typer.Typer(
    help="Secrets of a project, for journeys: ${secret:NAME}.", no_args_is_help=True, rich_markup_mode=None
)

SecretName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret.")]


@app.command("set")
def secrets_set(
    name: SecretName,
    project: OfProject = DEFAULT_PROJECT,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Where the value stands; - is stdin.")
    ] = None,
    json: Json = False,
) -> None:
    """Store a secret, or give it another value.

    The value is asked for, or read from stdin where that is no terminal; it is never an argument, which
    others on the machine could see. A line break at its end is not part of it.
    """
    with in_words():
        from cli import secrets as commands

        run(commands.put(client(), project, name, commands.value(name, file), json=json))


@app.command("list")
def secrets_list(project: OfProject = DEFAULT_PROJECT, json: Json = False) -> None:
    """List names of secrets, with who has set them when; their values are never given back."""
    with in_words():
        from cli import secrets as commands

        run(commands.show_list(client(), project, json=json))


@app.command("remove")
def secrets_remove(name: SecretName, project: OfProject = DEFAULT_PROJECT, json: Json = False) -> None:
    """Remove a secret. Sessions of jobs that name it fail from then on."""
    with in_words():
        from cli import secrets as commands

        run(commands.remove(client(), project, name, json=json))
