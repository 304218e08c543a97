"""The options that make a job, for all commands that take one: `submit` and `plan`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Annotated, Any

import typer

#: `(file, flags)`, as `cli.job_document.read` takes them.
JobFlags = tuple[str | None, dict[str, Any]]


def _options(
    file: Annotated[
        str | None, typer.Argument(help="Job spec: .yaml, .json or .toml; - is standard input.")
    ] = None,
    url: Annotated[list[str] | None, typer.Option("--url", help="Target; repeatable.")] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets", metavar="FILE|URL", help="Targets in bulk: .txt, .csv, .xlsx or sitemap.xml."
        ),
    ] = None,
    skip_bad_targets: Annotated[
        bool, typer.Option("--skip-bad-targets", help="Leave out lines that are no targets, or repeat one.")
    ] = False,
    sessions: Annotated[int | None, typer.Option("--sessions", help="Sessions in all.")] = None,
    vus: Annotated[int | None, typer.Option("--vus", help="Sessions at once.")] = None,
    platform: Annotated[
        list[str] | None, typer.Option("--platform", help="Such as linux-chromium; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name in lists and reports.")] = None,
    dwell: Annotated[str | None, typer.Option("--dwell", help="Time on a page: 2s, or 1s-3s.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option("--threshold", help="Such as 'load.p95 < 2500ms'; repeatable.")
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="0 (last) to 9 (first).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes the plan reproducible.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="Only runners of this pool.")] = None,
) -> None:
    """Its parameters are the options."""


def takes_job(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options beside its own; its first parameter gets them, as `JobFlags`."""
    shared = signature(_options, eval_str=True).parameters
    _, *own = signature(command, eval_str=True).parameters.values()

    @wraps(command)
    def whole(**values: Any) -> None:
        flags = {name: values.pop(name) for name in shared}
        command((flags.pop("file"), flags), **values)

    told = signature(command).replace(parameters=[*shared.values(), *own])
    whole.__signature__ = told  # type: ignore[attr-defined]
    return whole
