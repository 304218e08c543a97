"""`tb targets …`: origins, and how a project proves that they are its own."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.failure import in_words

from .context import run, target_client
from .options import DEFAULT_PROJECT, Json, OfProject, Wide

app = typer.Typer(
    help="Where jobs of a project may go: origins, and the proof that they are yours.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OriginArgument = Annotated[
    str, typer.Argument(metavar="ORIGIN", help="Scheme, host and port, such as https://shop.example.")
]


@app.command("add")
def targets_add(origin: OriginArgument, project: OfProject = DEFAULT_PROJECT, json: Json = False) -> None:
    """Name an origin as a target, and say what to put where to prove that it is yours."""
    with in_words():
        from cli import target_proofs as commands

        run(commands.add(target_client(), project, origin, json=json))


@app.command("verify")
def targets_verify(
    origin: OriginArgument,
    project: OfProject = DEFAULT_PROJECT,
    method: Annotated[
        Literal["file", "dns", "meta"] | None,
        typer.Option("--method", help="Where to look: file, dns or meta; without it everywhere."),
    ] = None,
    json: Json = False,
) -> None:
    """Look for the proof now; exit code 1 where it is not there."""
    with in_words():
        from cli import target_proofs as commands

        raise SystemExit(run(commands.verify(target_client(), project, origin, method, json=json)))


@app.command("list")
def targets_list(project: OfProject = DEFAULT_PROJECT, wide: Wide = False, json: Json = False) -> None:
    """List targets with their proofs, grants and ceilings; --json shows too what to put where."""
    with in_words():
        from cli import target_proofs as commands

        run(commands.show_list(target_client(), project, json=json, wide=wide))


@app.command("set")
def targets_set(
    origin: OriginArgument,
    project: OfProject = DEFAULT_PROJECT,
    sessions: Annotated[
        str | None, typer.Option("--sessions", help="Sessions at once of all jobs; none for no ceiling.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Requests a second of all jobs; none for no ceiling.")
    ] = None,
    json: Json = False,
) -> None:
    """Set ceilings of an origin, for all jobs together."""
    with in_words():
        from cli import target_proofs as commands

        run(commands.set_ceilings(target_client(), project, origin, sessions, rate, json=json))


@app.command("grant")
def targets_grant(
    origin: OriginArgument,
    project: OfProject = DEFAULT_PROJECT,
    without_proof: Annotated[
        bool, typer.Option("--without-proof", help="Nobody has to prove that it is theirs.")
    ] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the grant back.")] = False,
    json: Json = False,
) -> None:
    """Allow an origin to lead to private addresses; for admins of the fleet."""
    with in_words():
        from cli import target_proofs as commands

        work = commands.grant(
            target_client(), project, origin, without_proof=without_proof, withdraw=withdraw, json=json
        )
        run(work)


@app.command("remove")
def targets_remove(origin: OriginArgument, project: OfProject = DEFAULT_PROJECT, json: Json = False) -> None:
    """Remove a target. Jobs that go there are ended."""
    with in_words():
        from cli import target_proofs as commands

        run(commands.remove(target_client(), project, origin, json=json))
