"""`tb login` and `tb logout`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import kept_client, run
from .options import Json, PasswordFile


def login(
    user: Annotated[str | None, typer.Option("--user", help="Name; else it is asked for.")] = None,
    password_file: PasswordFile = None,
    json: Json = False,
) -> None:
    """Log in by name and password; kept for this server until it expires or `tb logout`."""
    with in_words():
        from cli import login as commands
        from cli import passwords

        name = user or typer.prompt("user", err=True)
        password = passwords.of(password_file, f"password of {name}: ")
        run(commands.log_in(kept_client(shown=False), name, password, json=json))


def logout(json: Json = False) -> None:
    """End the login that is kept for this server."""
    with in_words():
        from cli import login as commands

        run(commands.log_out(kept_client(shown=True), json=json))
