"""`tb projects …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.failure import in_words

from .context import people_client, run
from .options import Json, RoleName, Wide

app = typer.Typer(
    help="What belongs together: jobs, targets and secrets, with members and quotas.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ProjectName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the project.")]
_BOUND = "; none for no bound"
Jobs = Annotated[str | None, typer.Option("--jobs", help=f"Unfinished jobs{_BOUND}.")]
Vus = Annotated[str | None, typer.Option("--vus", help=f"Sessions at once of one job{_BOUND}.")]
Sessions = Annotated[str | None, typer.Option("--sessions", help=f"Sessions of one job{_BOUND}.")]
Targets = Annotated[str | None, typer.Option("--targets", help=f"Targets of one job{_BOUND}.")]
Schedules = Annotated[str | None, typer.Option("--schedules", help=f"Schedules{_BOUND}.")]
Egress = Annotated[bool | None, typer.Option("--egress/--no-egress", help="Its jobs may use proxies.")]
Scripts = Annotated[bool | None, typer.Option("--scripts/--no-scripts", help="Its jobs may bring scripts.")]


@app.command("add")
def projects_add(
    name: ProjectName,
    jobs: Jobs = None,
    vus: Vus = None,
    sessions: Sessions = None,
    targets: Targets = None,
    schedules: Schedules = None,
    egress: Egress = None,
    scripts: Scripts = None,
    json: Json = False,
) -> None:
    """Make a project; for admins. Nobody is a member yet: tb projects member."""
    quotas = {
        "jobs": jobs,
        "vus": vus,
        "sessions": sessions,
        "targets": targets,
        "schedules": schedules,
        "egress": egress,
        "scripts": scripts,
    }
    _keep(name, quotas, new=True, json=json)


@app.command("set")
def projects_set(
    name: ProjectName,
    jobs: Jobs = None,
    vus: Vus = None,
    sessions: Sessions = None,
    targets: Targets = None,
    schedules: Schedules = None,
    egress: Egress = None,
    scripts: Scripts = None,
    json: Json = False,
) -> None:
    """Change quotas of a project; for admins. Jobs that run are not touched."""
    quotas = {
        "jobs": jobs,
        "vus": vus,
        "sessions": sessions,
        "targets": targets,
        "schedules": schedules,
        "egress": egress,
        "scripts": scripts,
    }
    _keep(name, quotas, new=False, json=json)


def _keep(name: str, quotas: dict[str, Any], *, new: bool, json: bool) -> None:
    with in_words():
        from cli import projects as commands

        run(commands.keep(people_client(), name, quotas, new=new, json=json))


@app.command("list")
def projects_list(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show the members of this project.")
    ] = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List the projects that you may see, or the members of one."""
    with in_words():
        from cli import projects as commands

        run(commands.show_list(people_client(), name, json=json, wide=wide))


@app.command("remove")
def projects_remove(name: ProjectName, json: Json = False) -> None:
    """Remove a project; for admins. Its jobs stay, and only admins see them."""
    with in_words():
        from cli import projects as commands

        run(commands.remove(people_client(), name, json=json))


@app.command("member")
def projects_member(
    name: ProjectName,
    user: Annotated[str, typer.Argument(metavar="USER", help="Name of the user.")],
    role: Annotated[RoleName | None, typer.Option("--role", help="Give this role.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the user out.")] = False,
    json: Json = False,
) -> None:
    """Give a user a role in a project, or take them out; for admins of the project."""
    with in_words():
        from cli import projects as commands

        run(commands.member(people_client(), name, user, role, removing=remove, json=json))
