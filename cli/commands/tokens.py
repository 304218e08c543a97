"""`tb tokens …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failure import in_words

from .context import people_client, run
from .options import Json, RoleName, Wide

app = typer.Typer(
    help="Tokens for programs: each allows what its owner may, or less.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("create")
def tokens_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: Annotated[RoleName, typer.Option("--role", help="No more than this role.")] = "admin",
    project: Annotated[
        list[str] | None, typer.Option("--project", help="Only in this project; repeatable.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DURATION", help="Such as 12h or 90d; else never.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="For another user; admins only.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the secret to this file, with mode 600.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token. Its secret is shown now, and never again."""
    with in_words():
        from cli import tokens as commands

        work = commands.create(
            people_client(),
            name,
            role=role,
            projects=project,
            expires=expires,
            owner=owner,
            output=output,
            json=json,
        )
        run(work)


@app.command("list")
def tokens_list(
    owner: Annotated[str | None, typer.Option("--owner", help="Only those of this user.")] = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List one's own tokens; for admins all of them."""
    with in_words():
        from cli import tokens as commands

        run(commands.show_list(people_client(), owner, json=json, wide=wide))


@app.command("revoke")
def tokens_revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")], json: Json = False
) -> None:
    """End a token: what uses it is cut off within two seconds."""
    with in_words():
        from cli import tokens as commands

        run(commands.revoke(people_client(), id, json=json))
