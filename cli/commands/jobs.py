"""`tb jobs …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.failure import in_words

from .context import client, run
from .job_options import JobFlags, takes_job
from .options import DEFAULT_PROJECT, CancelOnInterrupt, JobId, Json, OfProject, Wide

app = typer.Typer(help="Submit, watch, list and steer jobs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("submit")
@takes_job
def submit(
    job: JobFlags,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key never makes a second job.")
    ] = None,
    project: OfProject = DEFAULT_PROJECT,
    json: Json = False,
) -> None:
    """Submit a job from a file, from flags, or from both (flags win)."""
    with in_words():
        from cli import jobs as commands

        work = commands.submit(
            client(),
            *job,
            watching=watch,
            cancelling=cancel_on_interrupt,
            key=idempotency_key,
            project=project,
            json=json,
        )
        raise SystemExit(run(work))


@app.command("plan")
@takes_job
def jobs_plan(job: JobFlags, project: OfProject = DEFAULT_PROJECT, json: Json = False) -> None:
    """Show what a job would run, and about how long it takes: nothing is stored, no target is asked."""
    with in_words():
        from cli.plan import plan

        run(plan(client(), *job, project=project, json=json))


@app.command("list")
def jobs_list(
    state: Annotated[
        Literal["queued", "running", "paused", "cancelling", "finished"] | None,
        typer.Option("--state", help="Only jobs in this state."),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only jobs of this project.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 50,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """List jobs, newest first."""
    with in_words():
        from cli import jobs as commands

        run(commands.show_list(client(), state=state, project=project, limit=limit, json=json, wide=wide))


@app.command("show")
def jobs_show(job: JobId, json: Json = False) -> None:
    """Show one job: state, counts, percentiles, groups."""
    with in_words():
        from cli import jobs as commands

        run(commands.show_one(client(), job, json=json))


@app.command("watch")
def jobs_watch(job: JobId, cancel_on_interrupt: CancelOnInterrupt = False, json: Json = False) -> None:
    """Follow a job to its end; the exit code is that of its verdict."""
    with in_words():
        from cli import jobs as commands

        raise SystemExit(run(commands.follow(client(), job, cancelling=cancel_on_interrupt, json=json)))


def _command(name: str, words: str) -> None:
    def command(job: JobId, json: Json = False) -> None:
        with in_words():
            from cli import jobs as commands

            run(commands.order(client(), job, name, json=json))

    command.__doc__ = words
    app.command(name)(command)


_command("cancel", "Cancel a job: running sessions are ended, the rest is not begun.")
_command("pause", "Pause a job: running sessions go on, no new one begins.")
_command("resume", "Resume a paused job.")


@app.command("retry")
def jobs_retry(
    job: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the new job to its end.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    json: Json = False,
) -> None:
    """Run the failed and lost sessions of a finished job again, as a new job."""
    with in_words():
        from cli import jobs as commands

        work = commands.retry(client(), job, watching=watch, cancelling=cancel_on_interrupt, json=json)
        raise SystemExit(run(work))


@app.command("report")
def jobs_report(
    job: JobId,
    format: Annotated[
        Literal["html", "junit", "json", "csv"],
        typer.Option("--format", help="A page, XML for CI, data, or a line for each session."),
    ] = "html",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; without it, standard output.")
    ] = None,
) -> None:
    """Write the report of a job, of one that runs too."""
    with in_words():
        from cli import report as commands

        run(commands.write(client(), job, format, output))


@app.command("audit")
def jobs_audit(job: JobId, json: Json = False) -> None:
    """Derive a job's totals anew from the stream; exit code 4 if what is told of it differs."""
    with in_words():
        from cli import jobs as commands

        raise SystemExit(run(commands.audit(client(), job, json=json)))


@app.command("schema")
def jobs_schema(
    json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page to read.")] = False,
    examples: Annotated[
        Path | None, typer.Option("--examples", help="Folder of specs to show on the page.", hidden=True)
    ] = None,
) -> None:
    """Print the JSON Schema of a job spec, or the reference that is made from it."""
    with in_words():
        from json import dumps

        from broker_config.job_spec import json_schema

        if markdown:
            from cli.job_reference import page

            files = sorted(examples.iterdir()) if examples else []
            typer.echo(page(json_schema(), {f.name: f.read_text("utf-8") for f in files}), nl=False)
        else:
            typer.echo(dumps(json_schema(), indent=None if json else 2))
