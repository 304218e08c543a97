"""`tb keys …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failure import in_words

app = typer.Typer(
    help="The secret keys of a fleet of orchestrators.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("init")
def keys_init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory that does not exist yet, or is empty.")
    ],
) -> None:
    """Make new keys. Each orchestrator of the fleet gets a copy: tb orchestrator start --keys DIR."""
    with in_words():
        from broker_config.keyring import Keyring
        from cli.output import err

        made = Keyring.new()
        made.save(directory)
        err().print(
            f"new keys are in {directory}: keep a copy in a safe place; what they seal is lost without them",
            markup=False,
        )
        err().print(f"sessions are signed with {made.public('dispatch')}", markup=False)
