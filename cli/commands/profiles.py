"""`tb profiles …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .options import Json

app = typer.Typer(
    help="The devices that sessions can pretend to be.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def profiles_list(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only those with these words.")
    ] = None,
    json: Json = False,
) -> None:
    """List device profiles with viewport, scale, and whether they are mobile and have a touch screen."""
    with in_words():
        from cli.profiles import show_list

        show_list(words or [], json=json)
