"""`tb audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.failure import in_words

from .context import client, run
from .options import Json, Wide


def audit(
    follow: Annotated[bool, typer.Option("--follow", help="Show what is noted from now on.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check that the chain of entries holds.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write all entries into a file.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="With --verify: check an export, and ask nobody.")
    ] = None,
    head: Annotated[
        str, typer.Option("--head", metavar="HASH", help="With --verify: this entry must be in it.")
    ] = "",
    since: Annotated[str, typer.Option("--since", help="Of the last 2h, 7d …, or since 2026-11-24.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Only by this user or runner.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only this: job, job.submit, token …")] = "",
    target: Annotated[str, typer.Option("--object", metavar="ID", help="Only done to this.")] = "",
    project: Annotated[str, typer.Option("--project", help="Only in this project.")] = "",
    result: Annotated[
        Literal["ok", "refused", "failed"] | None, typer.Option("--result", help="Only with this result.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Show who did what, from where, with what result; check or export it."""
    with in_words():
        import time

        from broker_config.audit_actions import ACTIONS
        from broker_config.errors import SettingsError
        from cli import audit as commands
        from cli.moment import since as moment

        if follow + verify + (export is not None) > 1:
            raise SettingsError("--follow, --verify and --export are three things; give one of them")
        if (file or head) and not verify:
            raise SettingsError("--file and --head belong to --verify")
        if head and not (len(head) == 64 and set(head.lower()) <= set("0123456789abcdef")):
            raise SettingsError(f"--head {head!r} is not a hash; it has 64 characters of 0-9 and a-f")
        if action and not any(a == action or a.startswith(f"{action}.") for a in ACTIONS):
            raise SettingsError(f"--action {action!r}: there is no such action; docs/audit.md lists them")
        if file is not None:
            raise SystemExit(commands.verify_file(file, head=head, json=json))
        if verify:
            raise SystemExit(run(commands.verify(client(), head=head, json=json)))
        if export is not None:
            run(commands.export(client(), export))
            return
        given = {"actor": actor, "action": action, "object": target, "project": project, "result": result}
        only = {k: v for k, v in given.items() if v}
        if since:
            only["since"] = str(moment(since, time.time()))
        if follow:
            run(commands.follow(client(), only, json=json))
            return
        run(commands.show_list(client(), only, limit=limit, json=json, wide=wide))
