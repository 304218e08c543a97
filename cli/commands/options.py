"""Flags and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines instead of tables.")]
Wide = Annotated[bool, typer.Option("--wide", help="Shorten nothing to fit the terminal.")]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Where jobs and results are kept.")]
Slots = Annotated[int | None, typer.Option("--slots", help="Sessions at once; 0 is automatic.")]
Browser = Annotated[
    list[str] | None, typer.Option("--browser", help="chromium, firefox … or name=/path; repeatable.")
]
Nats = Annotated[str | None, typer.Option("--nats", help="Address of the broker.")]
Origins = Annotated[
    list[str] | None,
    typer.Option("--allowed-origin", help="Where jobs may go beside loopback; * is all; repeatable."),
]
Contact = Annotated[
    str | None,
    typer.Option("--contact", help="https:// or mailto: address that each request tells: whom to ask."),
]
Host = Annotated[str | None, typer.Option("--host", help="Address to serve on.")]
TlsCert = Annotated[str | None, typer.Option("--tls-cert", help="PEM file: serve https by this certificate.")]
TlsKey = Annotated[str | None, typer.Option("--tls-key", help="PEM file of its key; mode 600.")]
Insecure = Annotated[bool | None, typer.Option("--insecure", help="Serve other machines without TLS.")]
Anonymous = Annotated[
    str | None,
    typer.Option(
        "--anonymous", help="What those without a login may do: viewer; on loopback operator, admin."
    ),
]
PublicOrigin = Annotated[
    list[str] | None,
    typer.Option("--public-origin", help="Such as https://tb.example: how browsers come here; repeatable."),
]
AllowScripts = Annotated[
    bool | None,
    typer.Option("--allow-scripts", help="Its runner runs scripts of users, with its rights."),
]
CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C while watching cancels the job too.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
#: As `broker_config.people` has it; importing that would slow `tb --help` down.
DEFAULT_PROJECT = "default"
OfProject = Annotated[str, typer.Option("--project", envvar="TB_PROJECT", help="Whose it is.")]
PasswordFile = Annotated[
    str | None,
    typer.Option("--password-file", help="The password is in this file; - is standard input."),
]
RoleName = Literal["viewer", "operator", "admin"]
