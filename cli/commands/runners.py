"""`tb runners …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import client, enrolment_client, run, settings
from .options import Json, Wide

app = typer.Typer(help="The machines that run browsers.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def runners_list(wide: Wide = False, json: Json = False) -> None:
    """List runners, online ones first."""
    with in_words():
        from cli import fleet as commands

        run(commands.runners(client(), json=json, wide=wide))


@app.command("show")
def runners_show(
    runner: Annotated[str, typer.Argument(metavar="RUNNER", help="Id of the runner.")], json: Json = False
) -> None:
    """Show one runner and what it runs."""
    with in_words():
        from cli import fleet as commands

        run(commands.runner(client(), runner, json=json))


@app.command("invite")
def runners_invite(
    uses: Annotated[int, typer.Option("--uses", min=1, help="How many machines may join by it.")] = 1,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it holds: 10m, 2h …")] = "10m",
    pool: Annotated[str | None, typer.Option("--pool", help="They take the sessions of this pool.")] = None,
    platform: Annotated[
        list[str] | None, typer.Option("--platform", help="They offer only these; repeatable.")
    ] = None,
    allow_scripts: Annotated[
        bool, typer.Option("--allow-scripts", help="They may take sessions with scripts of users.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a join token for machines that are to run browsers, and say what to type there.

    Each machine exchanges it once for a credential of its own.
    """
    with in_words():
        from cli import enrolment as commands

        work = commands.invite(
            enrolment_client(),
            uses=uses,
            ttl=ttl,
            pool=pool,
            platforms=platform or [],
            scripts=allow_scripts,
            ca_file=settings().ca_file,
            json=json,
        )
        run(work)


@app.command("invites")
def runners_invites(json: Json = False) -> None:
    """List the join tokens whose time is not over; the tokens themselves are not kept."""
    with in_words():
        from cli import enrolment as commands

        run(commands.show_invites(enrolment_client(), json=json))


@app.command("uninvite")
def runners_uninvite(
    invite: Annotated[str, typer.Argument(metavar="INVITE", help="Id of the invite.")], json: Json = False
) -> None:
    """Withdraw a join token. Runners that have joined by it stay."""
    with in_words():
        from cli import enrolment as commands

        run(commands.uninvite(enrolment_client(), invite, json=json))


@app.command("revoke")
def runners_revoke(
    runner: Annotated[str, typer.Argument(metavar="RUNNER", help="Id of the runner.")], json: Json = False
) -> None:
    """End the credential of a runner: it is cut off at once, and gets in no more."""
    with in_words():
        from cli import enrolment as commands

        run(commands.revoke(enrolment_client(), runner, json=json))
