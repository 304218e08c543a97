"""`tb orchestrator …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import run, settings
from .options import Nats, Origins

app = typer.Typer(help="The server: REST, WebSockets, dispatch.", no_args_is_help=True, rich_markup_mode=None)


@app.command("start")
def orchestrator_start(
    nats: Nats = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to serve on; 0 takes a free one.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of this orchestrator.")] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", help="Copies of each stream: 1 or 3.")] = None,
    allowed_origin: Origins = None,
) -> None:
    """Run an orchestrator against a broker that runs elsewhere, until it is told to end."""
    with in_words():
        from cli.orchestrator_process import serve

        found = settings(
            nats=nats, host=host, port=port, name=name, replicas=replicas, allowed_origins=allowed_origin
        )
        raise SystemExit(run(serve(found)))
