"""`tb users …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import people_client, run
from .options import Json, PasswordFile, RoleName, Wide

app = typer.Typer(
    help="Who there is, and what they may; for admins.", no_args_is_help=True, rich_markup_mode=None
)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]
Role = Annotated[
    RoleName, typer.Option("--role", help="viewer looks, operator runs jobs, admin decides who may what.")
]
Projects = Annotated[
    list[str] | None,
    typer.Option("--project", metavar="PROJECT[=ROLE]", help="Member of this project; repeatable."),
]
Oidc = Annotated[
    str | None, typer.Option("--oidc", metavar="ISSUER|SUBJECT", help="Who it is at the OpenID provider.")
]


@app.command("add")
def users_add(
    name: UserName,
    role: Role = "viewer",
    project: Projects = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a password.")] = False,
    password_file: PasswordFile = None,
    oidc: Oidc = None,
    json: Json = False,
) -> None:
    """Make a user; in the project `default` with the same role, unless others are named.

    Without a password only tokens let it in (tb tokens create --owner).
    """
    with in_words():
        from cli import passwords
        from cli import users as commands

        given = passwords.new(password_file, name) if password or password_file else None
        work = commands.add(
            people_client(), name, role, project or ["default"], password=given, oidc=oidc or "", json=json
        )
        run(work)


@app.command("list")
def users_list(wide: Wide = False, json: Json = False) -> None:
    """List users, with their roles in projects."""
    with in_words():
        from cli import users as commands

        run(commands.show_list(people_client(), json=json, wide=wide))


@app.command("change")
def users_change(
    name: UserName,
    role: Annotated[RoleName | None, typer.Option("--role", help="The new role.")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let a disabled user in again.")] = False,
    oidc: Oidc = None,
    json: Json = False,
) -> None:
    """Change the role of a user, or enable one again."""
    with in_words():
        from cli import users as commands

        body = {"role": role, "disabled": False if enable else None, "oidc": oidc}
        run(commands.change(people_client(), name, body, json=json))


@app.command("disable")
def users_disable(name: UserName, json: Json = False) -> None:
    """Cut a user off, within two seconds: all logins and tokens end for good."""
    with in_words():
        from cli import users as commands

        run(commands.change(people_client(), name, {"disabled": True}, json=json))


@app.command("remove")
def users_remove(name: UserName, json: Json = False) -> None:
    """Remove a user: cut off, and taken out of all projects. Their jobs stay."""
    with in_words():
        from cli import users as commands

        run(commands.remove(people_client(), name, json=json))


@app.command("password")
def users_password(
    name: UserName,
    password_file: PasswordFile = None,
    current_file: Annotated[
        str | None,
        typer.Option("--current-file", help="The password until now is in this file; admins need none."),
    ] = None,
    json: Json = False,
) -> None:
    """Set a password: one's own, or as an admin anybody's. All logins and tokens of the user end."""
    with in_words():
        from cli import users as commands

        run(commands.password(people_client(), name, password_file, current_file, json=json))
