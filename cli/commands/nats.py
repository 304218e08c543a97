"""`tb nats …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.failure import in_words

from .context import settings
from .options import DataDir, Insecure, TlsCert, TlsKey

app = typer.Typer(
    help="The plain command line of NATS, and a broker that wants credentials.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("creds")
def nats_creds(
    watch: Annotated[
        Path | None, typer.Option("--watch", metavar="FILE", help="File to make, for somebody who looks on.")
    ] = None,
    full: Annotated[
        Path | None,
        typer.Option("--full", metavar="FILE", help="File to make, for an admin: it may do everything."),
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="DIR", help="Keys of the broker.")] = None,
    data_dir: DataDir = None,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it holds: 10m, 30d …; 0 is for ever.")] = "30d",
) -> None:
    """Make a credentials file for `nats`: with --watch it sees what runs, and changes nothing.

    It takes the keys of the broker: those of `tb up` are in its data directory.
    """
    with in_words():
        from broker_config.duration import Duration
        from broker_config.errors import SettingsError
        from cli import nats_credentials as commands
        from cli.settings import data_dir_of

        found = settings(keys=keys, data_dir=data_dir)
        at = Path(found.keys) if found.keys else data_dir_of(found) / "keys"
        if (watch is None) == (full is None):
            raise SettingsError("for whom? Give --watch FILE or --full FILE")
        if watch is not None:
            commands.watch(at, watch, Duration.parse(ttl))
        if full is not None:
            commands.full(at, full, Duration.parse(ttl))


@app.command("config")
def nats_config(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files are put.")],
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="DIR", help="Keys as `tb keys init` makes them.")
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", metavar="HOST", help="A host by its name or address: one, or three."),
    ] = None,
    nats_port: Annotated[int | None, typer.Option("--nats-port", help="Port for clients.")] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="DIR", help="Where each node keeps its streams.")
    ] = "/var/lib/trafficbuster/nats",
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    node_ca: Annotated[
        str | None,
        typer.Option("--node-ca", metavar="FILE", help="Authority of the certificates of three nodes."),
    ] = None,
    insecure: Insecure = None,
) -> None:
    """Write the configuration of a nats-server of one's own that lets in nobody without a credential.

    Orchestrators come by the same keys, runners by invite. Paths are those on the machines of the nodes.
    """
    with in_words():
        from cli import nats_config as commands

        found = settings(
            keys=keys, nats_port=nats_port, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure
        )
        commands.write(found, out, nodes=node or [], store=store, node_ca=node_ca)
