"""`tb`: the command line. Heavy imports stay inside the commands: `tb --help` must be quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .commands import (
    artifacts,
    context,
    jobs,
    journeys,
    keys,
    login,
    nats,
    orchestrator,
    profiles,
    projects,
    proxies,
    runners,
    secrets,
    sessions,
    targets,
    tokens,
    users,
)
from .commands.audit import audit
from .commands.context import client, run, settings
from .commands.kill import kill
from .commands.options import (
    AllowScripts,
    Anonymous,
    Browser,
    Contact,
    DataDir,
    Host,
    Insecure,
    Json,
    Origins,
    PublicOrigin,
    Slots,
    TlsCert,
    TlsKey,
)
from .failure import in_words

app = typer.Typer(
    name="tb",
    help="Real-browser traffic testing: submit jobs, watch them, run the parts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 passed, 1 a threshold does not hold, 2 usage, 3 aborted, 4 infrastructure error.",
)
for name, group in (
    ("jobs", jobs),
    ("journeys", journeys),
    ("sessions", sessions),
    ("runners", runners),
    ("artifacts", artifacts),
    ("targets", targets),
    ("proxies", proxies),
    ("secrets", secrets),
    ("users", users),
    ("tokens", tokens),
    ("projects", projects),
    ("profiles", profiles),
    ("nats", nats),
    ("orchestrator", orchestrator),
    ("keys", keys),
):
    app.add_typer(group.app, name=name)


app.command("audit")(audit)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("kill")(kill)


@app.callback()
def options(
    server: Annotated[
        str | None, typer.Option("--server", help="Orchestrator to talk to [TB_SERVER].")
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", help="Show the token in this file [TB_TOKEN_FILE, TB_TOKEN]."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file, TOML [TB_CONFIG].")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", help="PEM file of authorities to trust [TB_CA_FILE].")
    ] = None,
) -> None:
    context.keep(config, token_file=token_file, server=server, log_level=log_level, ca_file=ca_file)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards.")] = False,
    data_dir: DataDir = None,
    slots: Slots = None,
    json: Json = False,
) -> None:
    """Show it all: broker, orchestrator, runner, a demo shop, and a job of 24 sessions on it."""
    with in_words():
        from .demo import demo as work

        raise SystemExit(run(work(settings(data_dir=data_dir, slots=slots), keep=keep, json=json)))


@app.command("demo-shop", hidden=True)
def demo_shop(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> None:
    """Run the demo shop alone on loopback, until Ctrl-C."""
    with in_words():
        from .shop_process import serve

        raise SystemExit(run(serve(port)))


@app.command()
def up(
    data_dir: DataDir = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the orchestrator.")] = None,
    nats_port: Annotated[int | None, typer.Option("--nats-port", help="Port of the broker.")] = None,
    host: Host = None,
    nats_host: Annotated[
        str | None, typer.Option("--nats-host", help="Address of the broker; not loopback: secure, with TLS.")
    ] = None,
    secure: Annotated[
        bool | None, typer.Option("--secure", help="The broker lets in nobody without a credential.")
    ] = None,
    cluster: Annotated[
        int | None, typer.Option("--cluster", help="Nodes of the broker: 1, or 3 for trial.")
    ] = None,
    slots: Slots = None,
    browser: Browser = None,
    allowed_origin: Origins = None,
    contact: Contact = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure: Insecure = None,
    anonymous: Anonymous = None,
    public_origin: PublicOrigin = None,
    allow_scripts: AllowScripts = None,
    runner: Annotated[bool, typer.Option("--runner/--no-runner", help="Start a runner too.")] = True,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the whole log here, not its warnings alone.")
    ] = False,
) -> None:
    """Run broker, orchestrator and a runner on this machine, until Ctrl-C."""
    with in_words():
        from .up import up as work

        found = settings(
            data_dir=data_dir,
            port=port,
            nats_port=nats_port,
            nats_host=nats_host,
            secure=secure,
            host=host,
            cluster=cluster,
            slots=slots,
            browsers=browser,
            allowed_origins=allowed_origin,
            contact=contact,
            allow_scripts=allow_scripts,
            tls_cert=tls_cert,
            tls_key=tls_key,
            insecure=insecure,
            anonymous=anonymous,
            public_origins=public_origin,
        )
        raise SystemExit(run(work(found, runner=runner, verbose=verbose)))


@app.command()
def doctor(
    data_dir: DataDir = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Really start the browsers.")] = True,
    json: Json = False,
) -> None:
    """Check this machine: Python, nats-server, browsers, ports, disk, limits, clock."""
    with in_words():
        from .diagnosis import diagnose

        raise SystemExit(run(diagnose(settings(data_dir=data_dir), start=start, json=json)))


@app.command()
def platforms(json: Json = False) -> None:
    """List the platforms that online runners offer now."""
    with in_words():
        from . import fleet as commands

        run(commands.platforms(client(), json=json))


def main() -> None:
    app(prog_name="tb")


if __name__ == "__main__":
    main()
