"""`tb`: the command line. Heavy imports stay inside the commands: `tb --help` must be quick."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from .client import Client
    from .settings import Settings

T = TypeVar("T")

app = typer.Typer(
    name="tb",
    help="Real-browser traffic testing: submit jobs, watch them, run the parts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 passed, 1 a threshold does not hold, 2 usage, 3 aborted, 4 infrastructure error.",
)
_options: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
jobs = typer.Typer(help="Submit, watch, list and steer jobs.", **_options)
journeys = typer.Typer(help="Check, record and import journeys.", **_options)
sessions = typer.Typer(help="The sessions of a job.", **_options)
runners = typer.Typer(help="The machines that run browsers.", **_options)
profiles = typer.Typer(help="The devices that sessions can pretend to be.", **_options)
artifacts = typer.Typer(help="What sessions left behind: pictures, HAR, traces, videos, logs.", **_options)
proxies = typer.Typer(help="Pools of proxies by which sessions can leave.", **_options)
orchestrator = typer.Typer(help="The server: REST, WebSockets, dispatch.", **_options)
for name, group in (
    ("jobs", jobs),
    ("journeys", journeys),
    ("sessions", sessions),
    ("runners", runners),
    ("artifacts", artifacts),
    ("proxies", proxies),
    ("profiles", profiles),
    ("orchestrator", orchestrator),
):
    app.add_typer(group, name=name)

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

_context: dict[str, Any] = {}


@app.callback()
def options(
    server: Annotated[
        str | None, typer.Option("--server", help="Orchestrator to talk to [TB_SERVER].")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file, TOML [TB_CONFIG].")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = None,
) -> None:
    _context.update(server=server, config=config, log_level=log_level)


def _settings(**flags: Any) -> Settings:
    from . import settings

    shared = {k: _context.get(k) for k in ("server", "log_level")}
    return settings.load(shared | flags, file=_context.get("config"))


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


def _client() -> Client:
    from .client import Client

    return Client(_settings().server)


# --- everything on one machine -----------------------------------------------------------------------------


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards.")] = False,
    data_dir: DataDir = None,
    slots: Slots = None,
    json: Json = False,
) -> None:
    """Show it all: broker, orchestrator, runner, a demo shop, and a job of 24 sessions on it."""
    from .failure import in_words

    with in_words():
        from .demo import demo as work

        raise SystemExit(_run(work(_settings(data_dir=data_dir, slots=slots), keep=keep, json=json)))


@app.command("demo-shop", hidden=True)
def demo_shop(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> None:
    """Run the demo shop alone on loopback, until Ctrl-C."""
    from .failure import in_words

    with in_words():
        from .shop_process import serve

        raise SystemExit(_run(serve(port)))


@app.command()
def up(
    data_dir: DataDir = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the orchestrator.")] = None,
    nats_port: Annotated[int | None, typer.Option("--nats-port", help="Port of the broker.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to serve on.")] = None,
    cluster: Annotated[
        int | None, typer.Option("--cluster", help="Nodes of the broker: 1, or 3 for trial.")
    ] = None,
    slots: Slots = None,
    browser: Browser = None,
    allowed_origin: Origins = None,
    allow_scripts: AllowScripts = None,
    runner: Annotated[bool, typer.Option("--runner/--no-runner", help="Start a runner too.")] = True,
) -> None:
    """Run broker, orchestrator and a runner on this machine, until Ctrl-C."""
    from .failure import in_words

    with in_words():
        from .up import up as work

        settings = _settings(
            data_dir=data_dir,
            port=port,
            nats_port=nats_port,
            host=host,
            cluster=cluster,
            slots=slots,
            browsers=browser,
            allowed_origins=allowed_origin,
            allow_scripts=allow_scripts,
        )
        raise SystemExit(_run(work(settings, runner=runner)))


@app.command()
def doctor(
    data_dir: DataDir = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Really start the browsers.")] = True,
    json: Json = False,
) -> None:
    """Check this machine: Python, nats-server, browsers, ports, disk, limits, clock."""
    from .failure import in_words

    with in_words():
        from .diagnosis import diagnose

        raise SystemExit(_run(diagnose(_settings(data_dir=data_dir), start=start, json=json)))


@orchestrator.command("start")
def orchestrator_start(
    nats: Nats = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to serve on; 0 takes a free one.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of this orchestrator.")] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", help="Copies of each stream: 1 or 3.")] = None,
    allowed_origin: Origins = None,
) -> None:
    """Run an orchestrator against a broker that runs elsewhere, until it is told to end."""
    from .failure import in_words

    with in_words():
        from .orchestrator_process import serve

        settings = _settings(
            nats=nats, host=host, port=port, name=name, replicas=replicas, allowed_origins=allowed_origin
        )
        raise SystemExit(_run(serve(settings)))


# --- jobs --------------------------------------------------------------------------------------------------


@jobs.command("submit")
def submit(
    file: SpecFile = None,
    url: Url = None,
    targets: TargetsFile = None,
    skip_bad_targets: SkipBadTargets = False,
    sessions: Sessions = None,
    vus: Vus = None,
    platform: Platform = None,
    name: Annotated[str | None, typer.Option("--name", help="Name in lists and reports.")] = None,
    dwell: Annotated[str | None, typer.Option("--dwell", help="Time on a page: 2s, or 1s-3s.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option("--threshold", help="Such as 'load.p95 < 2500ms'; repeatable.")
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="0 (last) to 9 (first).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes the plan reproducible.")] = None,
    pool: Pool = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key never makes a second job.")
    ] = None,
    json: Json = False,
) -> None:
    """Submit a job from a file, from flags, or from both (flags win)."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        flags = {
            "url": url,
            "targets": targets,
            "skip_bad_targets": skip_bad_targets,
            "sessions": sessions,
            "vus": vus,
            "platform": platform,
            "name": name,
            "dwell": dwell,
            "threshold": threshold,
            "priority": priority,
            "seed": seed,
            "pool": pool,
        }
        work = commands.submit(
            _client(),
            file,
            flags,
            watching=watch,
            cancelling=cancel_on_interrupt,
            key=idempotency_key,
            json=json,
        )
        raise SystemExit(_run(work))


@jobs.command("plan")
def jobs_plan(
    file: SpecFile = None,
    url: Url = None,
    targets: TargetsFile = None,
    skip_bad_targets: SkipBadTargets = False,
    sessions: Sessions = None,
    vus: Vus = None,
    platform: Platform = None,
    pool: Pool = None,
    json: Json = False,
) -> None:
    """Show what a job would run, and about how long it takes: nothing is stored, no target is asked."""
    from .failure import in_words

    with in_words():
        from .plan import plan

        flags = {
            "url": url,
            "targets": targets,
            "skip_bad_targets": skip_bad_targets,
            "sessions": sessions,
            "vus": vus,
            "platform": platform,
            "pool": pool,
        }
        _run(plan(_client(), file, flags, json=json))


@jobs.command("list")
def jobs_list(
    state: Annotated[str | None, typer.Option("--state", help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, newest first."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        _run(commands.show_list(_client(), state=state, limit=limit, json=json))


@jobs.command("show")
def jobs_show(job: JobId, json: Json = False) -> None:
    """Show one job: state, counts, percentiles, groups."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        _run(commands.show_one(_client(), job, json=json))


@jobs.command("watch")
def jobs_watch(job: JobId, cancel_on_interrupt: CancelOnInterrupt = False, json: Json = False) -> None:
    """Follow a job to its end; the exit code is that of its verdict."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        raise SystemExit(_run(commands.follow(_client(), job, cancelling=cancel_on_interrupt, json=json)))


def _command(name: str, words: str) -> None:
    def command(job: JobId, json: Json = False) -> None:
        from .failure import in_words

        with in_words():
            from . import jobs as commands

            _run(commands.order(_client(), job, name, json=json))

    command.__doc__ = words
    jobs.command(name)(command)


_command("cancel", "Cancel a job: running sessions are ended, the rest is not begun.")
_command("pause", "Pause a job: running sessions go on, no new one begins.")
_command("resume", "Resume a paused job.")


@jobs.command("retry")
def jobs_retry(
    job: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the new job to its end.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    json: Json = False,
) -> None:
    """Run the failed and lost sessions of a finished job again, as a new job."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        work = commands.retry(_client(), job, watching=watch, cancelling=cancel_on_interrupt, json=json)
        raise SystemExit(_run(work))


@jobs.command("report")
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
    from .failure import in_words

    with in_words():
        from . import report as commands

        _run(commands.write(_client(), job, format, output))


@jobs.command("audit")
def jobs_audit(job: JobId, json: Json = False) -> None:
    """Derive a job's totals anew from the stream; exit code 4 if what is told of it differs."""
    from .failure import in_words

    with in_words():
        from . import jobs as commands

        raise SystemExit(_run(commands.audit(_client(), job, json=json)))


@jobs.command("schema")
def jobs_schema(
    json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page to read.")] = False,
    examples: Annotated[
        Path | None, typer.Option("--examples", help="Folder of specs to show on the page.", hidden=True)
    ] = None,
) -> None:
    """Print the JSON Schema of a job spec, or the reference that is made from it."""
    from .failure import in_words

    with in_words():
        from json import dumps

        from broker_config.job_spec import json_schema

        if markdown:
            from .job_reference import page

            files = sorted(examples.iterdir()) if examples else []
            typer.echo(page(json_schema(), {f.name: f.read_text("utf-8") for f in files}), nl=False)
        else:
            typer.echo(dumps(json_schema(), indent=None if json else 2))


# --- journeys ----------------------------------------------------------------------------------------------

Output = Annotated[Path | None, typer.Option("--output", help="File to write; standard output without.")]


@journeys.command("check")
def journeys_check(
    file: Annotated[
        str, typer.Argument(help="Job spec or journey (.yaml, .json, .toml; - is standard input), or .py.")
    ],
    url: Annotated[str | None, typer.Option("--url", help="Page to open, in place of its targets.")] = None,
    session: Annotated[int, typer.Option("--session", min=1, help="Which session of the job.")] = 1,
    browser: Browser = None,
    pictures: Annotated[Path, typer.Option("--pictures", help="Folder for its pictures.")] = Path(),
    allowed_origin: Origins = None,
    json: Json = False,
) -> None:
    """Run one session here, in a real browser, and show each step; exit code 1 if it fails."""
    from .failure import in_words

    with in_words():
        from .journey_check import check

        work = check(
            _settings(allowed_origins=allowed_origin, browsers=browser),
            file,
            url=url,
            session=session,
            pictures=pictures,
            json=json,
        )
        raise SystemExit(_run(work))


@journeys.command("import")
def journeys_import(
    file: Annotated[str, typer.Argument(help="Playwright code in Python, as its recorder writes it.")],
    output: Output = None,
    url: Annotated[str | None, typer.Option("--url", help="Page to open, in place of the first.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if something is left out.")] = False,
) -> None:
    """Turn recorded Playwright code into a job with a journey, and name what it cannot have."""
    from .failure import in_words

    with in_words():
        from . import journeys as commands

        raise SystemExit(commands.import_(file, output=output, url=url, strict=strict))


@journeys.command("record")
def journeys_record(
    url: Annotated[str, typer.Argument(help="Page to begin with.")],
    output: Output = None,
    allowed_origin: Origins = None,
) -> None:
    """Open a window, and write what you do in it as a job with a journey."""
    from .failure import in_words

    with in_words():
        from . import journeys as commands

        work = commands.record(_settings(allowed_origins=allowed_origin), url, output=output)
        raise SystemExit(_run(work))


# --- sessions, runners, platforms --------------------------------------------------------------------------


@sessions.command("list")
def sessions_list(
    job: JobId,
    status: Annotated[
        str | None, typer.Option("--status", help="ok, failed, cancelled, lost or dropped.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    json: Json = False,
) -> None:
    """List the ended sessions of a job, in the order in which they ended."""
    from .failure import in_words

    with in_words():
        from . import fleet as commands

        _run(commands.sessions(_client(), job, status=status, limit=limit, json=json))


@runners.command("list")
def runners_list(json: Json = False) -> None:
    """List runners, online ones first."""
    from .failure import in_words

    with in_words():
        from . import fleet as commands

        _run(commands.runners(_client(), json=json))


@runners.command("show")
def runners_show(
    runner: Annotated[str, typer.Argument(metavar="RUNNER", help="Id of the runner.")], json: Json = False
) -> None:
    """Show one runner and what it runs."""
    from .failure import in_words

    with in_words():
        from . import fleet as commands

        _run(commands.runner(_client(), runner, json=json))


# --- artifacts ---------------------------------------------------------------------------------------------

OfSession = Annotated[int | None, typer.Option("--session", min=1, help="Only of this session.")]
IntoFolder = Annotated[
    Path | None, typer.Option("--output", help="Folder to put them into; artifacts-JOB by default.")
]


@artifacts.command("list")
def artifacts_list(
    job: JobId,
    session: OfSession = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 1_000,
    json: Json = False,
) -> None:
    """List what the sessions of a job left behind."""
    from .failure import in_words

    with in_words():
        from . import artifacts as commands

        _run(commands.show_list(_client(), job, session=session, limit=limit, json=json))


@artifacts.command("get")
def artifacts_get(
    job: JobId,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Such as 17.1/failure.jpg; all without it.")
    ] = None,
    session: OfSession = None,
    output: IntoFolder = None,
    json: Json = False,
) -> None:
    """Get one artifact, those of a session, or all of a job, as files."""
    from .failure import in_words

    with in_words():
        from . import artifacts as commands

        _run(commands.get(_client(), job, name, session=session, output=output, json=json))


@artifacts.command("open")
def artifacts_open(
    job: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as 17.1/trace.zip.")],
    output: IntoFolder = None,
) -> None:
    """Get one artifact and show it: a trace in Playwright's viewer, others with the system's program."""
    from .failure import in_words

    with in_words():
        from . import artifacts as commands

        raise SystemExit(_run(commands.open_one(_client(), job, name, output=output)))


# --- proxies -----------------------------------------------------------------------------------------------

PoolName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pool.")]
Proxies = Annotated[
    list[str] | None, typer.Argument(metavar="[HOST:PORT]…", help="As the list of the pool shows them.")
]
AllProxies = Annotated[bool, typer.Option("--all", help="All proxies of the pool.")]


@proxies.command("import")
def proxies_import(
    name: PoolName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="TXT or CSV, a proxy a line; - is stdin.")],
    replace: Annotated[bool, typer.Option("--replace", help="The pool is these alone, from now on.")] = False,
    json: Json = False,
) -> None:
    """Add proxies to a pool, or make it: host:port, host:port:user:password, or URLs."""
    from .failure import in_words

    with in_words():
        from . import proxies as commands

        _run(commands.take(_client(), name, file, replace=replace, json=json))


@proxies.command("list")
def proxies_list(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show the proxies of this pool.")
    ] = None,
    json: Json = False,
) -> None:
    """List pools, or the proxies of one, without their credentials."""
    from .failure import in_words

    with in_words():
        from . import proxies as commands

        _run(commands.show_list(_client(), name, json=json))


@proxies.command("test")
def proxies_test(
    name: PoolName,
    url: Annotated[str, typer.Option("--url", help="Ask for this URL through each proxy.")] = "",
    runner: Annotated[str, typer.Option("--runner", help="Test from this runner.")] = "",
    json: Json = False,
) -> None:
    """Test each proxy of a pool from a runner; exit code 4 if an enabled one does not work."""
    from .failure import in_words

    with in_words():
        from . import proxies as commands

        raise SystemExit(_run(commands.test(_client(), name, url=url, runner=runner, json=json)))


@proxies.command("enable")
def proxies_enable(
    name: PoolName, proxies: Proxies = None, everything: AllProxies = False, json: Json = False
) -> None:
    """Let sessions use proxies of a pool again."""
    _switch(name, proxies, everything, enabled=True, json=json)


@proxies.command("disable")
def proxies_disable(
    name: PoolName, proxies: Proxies = None, everything: AllProxies = False, json: Json = False
) -> None:
    """Keep proxies of a pool, and use them no more."""
    _switch(name, proxies, everything, enabled=False, json=json)


def _switch(name: str, proxies: list[str] | None, everything: bool, *, enabled: bool, json: bool) -> None:
    from .failure import in_words

    with in_words():
        from . import proxies as commands

        work = commands.switch(
            _client(), name, proxies or [], everything=everything, enabled=enabled, json=json
        )
        _run(work)


@proxies.command("remove")
def proxies_remove(name: PoolName, json: Json = False) -> None:
    """Remove a pool. Sessions of jobs that still run by it fail."""
    from .failure import in_words

    with in_words():
        from . import proxies as commands

        _run(commands.remove(_client(), name, json=json))


@app.command()
def platforms(json: Json = False) -> None:
    """List the platforms that online runners offer now."""
    from .failure import in_words

    with in_words():
        from . import fleet as commands

        _run(commands.platforms(_client(), json=json))


@profiles.command("list")
def profiles_list(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only those with these words.")
    ] = None,
    json: Json = False,
) -> None:
    """List device profiles with viewport, scale, and whether they are mobile and have a touch screen."""
    from .failure import in_words

    with in_words():
        from .profiles import show_list

        show_list(words or [], json=json)


def main() -> None:
    app(prog_name="tb")


if __name__ == "__main__":
    main()
