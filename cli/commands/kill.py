"""`tb kill`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, run
from .options import Json


def kill(
    job: Annotated[str, typer.Option("--job", metavar="ID", help="All traffic of this job.")] = "",
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="That of all its jobs.")] = "",
    fleet: Annotated[bool, typer.Option("--fleet", help="That of everybody.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the verdict.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Take new work again.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show what is killed.")] = False,
    json: Json = False,
) -> None:
    """Stop all traffic of a job, a project or the fleet at once, and refuse new work until that is lifted."""
    with in_words():
        from broker_config.errors import SettingsError
        from cli import kills as commands

        named = bool(job) + bool(project) + fleet
        if show:
            if named or lift or reason:
                raise SettingsError("--list stands alone")
            run(commands.show_list(client(), json=json))
            return
        if named != 1:
            raise SettingsError("name what is meant: --job ID, --project NAME or --fleet; one of them")
        if lift:
            if reason:
                raise SettingsError("--reason belongs to a kill, not to --lift")
            run(commands.lift(client(), job=job, project=project, json=json))
        else:
            run(commands.kill(client(), job=job, project=project, fleet=fleet, reason=reason, json=json))
