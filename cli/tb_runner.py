"""`tb-runner`: a machine that runs browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="tb-runner",
    help="Runs browser sessions for TrafficBuster.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


AllowScripts = Annotated[
    bool | None, typer.Option("--allow-scripts", help="Run scripts of users, with this process's rights.")
]


@app.callback()
def options() -> None:
    """Runs browser sessions for TrafficBuster."""


@app.command()
def start(
    nats: Annotated[str | None, typer.Option("--nats", help="Address of the broker [TB_NATS].")] = None,
    slots: Annotated[int | None, typer.Option("--slots", help="Sessions at once; 0 is automatic.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value; repeatable.")] = None,
    browser: Annotated[
        list[str] | None, typer.Option("--browser", help="chromium, firefox … or name=/path; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Id of this runner.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="Only sessions of this pool.")] = None,
    allow_scripts: AllowScripts = None,
    grace: Annotated[
        float | None, typer.Option("--grace", help="Seconds for running sessions when told to end.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where results wait that could not be sent.")
    ] = None,
    join_token_file: Annotated[
        Path | None,
        typer.Option("--join-token-file", metavar="FILE", help="Join by this token, where it has not yet."),
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="Orchestrator to join at [TB_SERVER].")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", help="PEM file of its authorities [TB_CA_FILE].")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Join at another machine without TLS.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file, TOML [TB_CONFIG].")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Run sessions until told to end: SIGTERM or Ctrl-C finishes what runs, a second one hands it back."""
    import asyncio

    from .failure import in_words

    flags: dict[str, Any] = {
        "nats": nats,
        "slots": slots,
        "labels": label,
        "browsers": browser,
        "name": name,
        "pool": pool,
        "allow_scripts": allow_scripts,
        "grace": grace,
        "data_dir": data_dir,
        "log_level": log_level,
        "server": server,
        "ca_file": ca_file,
        "insecure": insecure,
    }
    with in_words("tb-runner"):
        from . import settings
        from .runner_process import run

        raise SystemExit(asyncio.run(run(settings.load(flags, file=config), join_token_file)))


@app.command()
def leave(
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where the runner keeps its credential.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file, TOML [TB_CONFIG].")] = None,
) -> None:
    """Forget this runner's credential. An admin ends it for good by `tb runners revoke`."""
    from .failure import in_words

    with in_words("tb-runner"):
        from broker_config.runner_credential import RunnerCredential, remove

        from . import settings
        from .output import err
        from .runner_process import data_dir_of

        at = data_dir_of(settings.load({"data_dir": data_dir}, file=config))
        try:
            found = RunnerCredential.load(at)
        finally:
            gone = remove(at)
        name = found.runner if found else ""
        said = (
            f"runner {name} has left; `tb runners revoke {name}` ends its credential"
            if gone
            else (f"there is no credential in {at}")
        )
        err().print(said, markup=False)


def main() -> None:
    app(prog_name="tb-runner")


if __name__ == "__main__":
    main()
