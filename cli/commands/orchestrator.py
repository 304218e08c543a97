"""`tb orchestrator …`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.failure import in_words

from .context import run, settings
from .options import Anonymous, Contact, DataDir, Host, Insecure, Nats, Origins, PublicOrigin, TlsCert, TlsKey

app = typer.Typer(help="The server: REST, WebSockets, dispatch.", no_args_is_help=True, rich_markup_mode=None)


@app.command("start")
def orchestrator_start(
    nats: Nats = None,
    host: Host = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to serve on; 0 takes a free one.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of this orchestrator.")] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", help="Copies of each stream: 1 or 3.")] = None,
    allowed_origin: Origins = None,
    contact: Contact = None,
    data_dir: DataDir = None,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="DIR", help="Keys as `tb keys init` makes them.")
    ] = None,
    secure: Annotated[
        bool | None,
        typer.Option("--secure", help="The broker is in operator mode, under the keys of --keys."),
    ] = None,
    nats_ca: Annotated[
        str | None, typer.Option("--nats-ca", help="PEM file of the broker's certificates.")
    ] = None,
    runner_broker: Annotated[
        list[str] | None,
        typer.Option("--runner-broker", help="Address of the broker that runners are told; repeatable."),
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure: Insecure = None,
    anonymous: Anonymous = None,
    public_origin: PublicOrigin = None,
) -> None:
    """Run an orchestrator against a broker that runs elsewhere, until it is told to end."""
    with in_words():
        from cli.orchestrator_process import serve

        found = settings(
            nats=nats,
            host=host,
            port=port,
            name=name,
            replicas=replicas,
            allowed_origins=allowed_origin,
            contact=contact,
            data_dir=data_dir,
            keys=keys,
            secure=secure,
            nats_ca=nats_ca,
            runner_brokers=runner_broker,
            tls_cert=tls_cert,
            tls_key=tls_key,
            insecure=insecure,
            anonymous=anonymous,
            public_origins=public_origin,
        )
        raise SystemExit(run(serve(found)))
