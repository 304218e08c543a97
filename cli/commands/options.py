"""Flags and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines instead of tables.")]
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
AllowScripts = Annotated[
    bool | None,
    typer.Option("--allow-scripts", help="Its runner runs scripts of users, with its rights."),
]
SpecFile = Annotated[str | None, typer.Argument(help="Job spec: .yaml, .json or .toml; - is standard input.")]
Url = Annotated[list[str] | None, typer.Option("--url", help="Target; repeatable.")]
TargetsFile = Annotated[
    str | None,
    typer.Option("--targets", metavar="FILE|URL", help="Targets in bulk: .txt, .csv, .xlsx or sitemap.xml."),
]
SkipBadTargets = Annotated[
    bool, typer.Option("--skip-bad-targets", help="Leave out lines that are no targets, or repeat one.")
]
Sessions = Annotated[int | None, typer.Option("--sessions", help="Sessions in all.")]
Vus = Annotated[int | None, typer.Option("--vus", help="Sessions at once.")]
Platform = Annotated[list[str] | None, typer.Option("--platform", help="Such as linux-chromium; repeatable.")]
Pool = Annotated[str | None, typer.Option("--pool", help="Only runners of this pool.")]
CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C while watching cancels the job too.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
