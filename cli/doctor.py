"""`tb doctor`: looks at what TrafficBuster needs on this machine, and says how to mend what is missing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx

from broker_config.api import API_PREFIX
from broker_config.errors import ServerNotStarted
from broker_config.server_binary import find_server

from .checks.browsers import RUNNER_EXTRA, browsers
from .checks.clock import clock
from .checks.finding import Finding, State, guarded
from .checks.ports import nats_port, web_port
from .checks.program import output_of

#: Seconds for one check, whatever it waits for.
LIMIT = 10.0
WEB_PORT = 8700
NATS_PORT = 4222
_GB = 1 << 30
_ORCHESTRATOR = "pip install 'trafficbuster[orchestrator]'"
_ENLARGE = "raise the limit: `ulimit -n 4096` in this shell, or LimitNOFILE= in a service"


async def examine(
    server: str, data_dir: Path, start_browsers: bool = True, *, web: int = WEB_PORT, nats: int = NATS_PORT
) -> list[Finding]:
    """Make all checks, in the order in which they are to be shown.

    `server` is the orchestrator's address (`TB_SERVER`). `start_browsers` really starts each browser once,
    which takes some seconds. `web` and `nats` are the ports that `tb up` would take here. Never raises for
    what it finds; no check takes longer than its limit.
    """
    checks: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
        ("nats-server", nats_server),
        (f"port {web}", lambda: web_port(web)),
        (f"port {nats}", lambda: nats_port(nats)),
        ("clock", clock),
        ("server", lambda: reach(server)),
    ]
    broker, web_side, broker_side, time_, reached = await asyncio.gather(
        *(guarded(name, check, LIMIT) for name, check in checks)
    )
    return [
        python(sys.version_info[:3]),
        packages(),
        broker,
        *await browsers(start_browsers),
        web_side,
        broker_side,
        disk(data_dir),
        descriptors(_descriptor_limit()),
        time_,
        reached,
    ]


def python(version: Sequence[int]) -> Finding:
    text = ".".join(map(str, version))
    if tuple(version[:2]) < (3, 11):
        return Finding("Python", "fail", text, "use Python 3.11 or newer: `uv python install 3.12`")
    return Finding("Python", "ok", text)


def packages(is_there: Callable[[str], object] = importlib.util.find_spec) -> Finding:
    """The extras: what only the orchestrator or only the runner needs."""
    extras = {_ORCHESTRATOR: ("starlette", "uvicorn"), RUNNER_EXTRA: ("playwright",)}
    missing = {install: [p for p in names if not is_there(p)] for install, names in extras.items()}
    lost = [p for names in missing.values() for p in names]
    if lost:
        mend = "; ".join(install for install, names in missing.items() if names)
        return Finding("packages", "fail", f"not installed: {', '.join(lost)}", mend)
    return Finding("packages", "ok", "orchestrator and runner are installed")


async def nats_server(find: Callable[[], Path] = find_server) -> Finding:
    name = "nats-server"
    try:
        path = find()
    except ServerNotStarted:
        return Finding(name, "fail", "not found beside this Python or on PATH", _ORCHESTRATOR)
    try:
        text = await output_of(str(path), "--version")
    except OSError as e:
        return Finding(name, "fail", f"{path} does not start: {e.strerror}", f"reinstall it: {_ORCHESTRATOR}")
    return judge_nats_server(str(path), text)


def judge_nats_server(path: str, text: str) -> Finding:
    """`text` is what `nats-server --version` says."""
    found = re.search(r"v(\d+)\.(\d+)(\.\d+)?", text)
    if found is None:
        shown = text.strip()[:80] or "nothing"
        return Finding(
            "nats-server", "fail", f"{path} --version says {shown!r}", f"reinstall it: {_ORCHESTRATOR}"
        )
    if (int(found[1]), int(found[2])) < (2, 12):
        mend = f"use 2.12 or newer: {_ORCHESTRATOR}"
        return Finding("nats-server", "fail", f"{found[0][1:]} at {path} is too old", mend)
    return Finding("nats-server", "ok", f"{found[0][1:]} at {path}")


def disk(data_dir: Path) -> Finding:
    """Free space and rights where the data directory is, or will be."""
    other = "give another directory by --data-dir"
    try:
        place = data_dir.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            return Finding("disk", "fail", f"{place} is no directory", other)
        if not os.access(place, os.W_OK | os.X_OK):
            return Finding("disk", "fail", f"{place} cannot be written to", f"change its owner, or {other}")
        return judge_disk(shutil.disk_usage(place).free, data_dir)
    except OSError as e:
        return Finding("disk", "fail", f"{data_dir} cannot be used: {e.strerror}", other)


def judge_disk(free: int, data_dir: Path) -> Finding:
    """`free` in bytes."""
    found = f"{free / _GB:.1f} GB free for {data_dir}"
    state: State = "fail" if free < _GB / 2 else "warn" if free < 2 * _GB else "ok"
    mend = f"make room (2 GB are enough for long jobs), or give another directory by --data-dir ({data_dir})"
    return Finding("disk", state, found, "" if state == "ok" else mend)


def descriptors(limit: int | None) -> Finding:
    """`limit` is how many files this process may open, None where the system knows no such limit."""
    name = "file descriptors"
    if limit is None:
        return Finding(name, "ok", "no limit")
    state: State = "fail" if limit < 256 else "warn" if limit < 1024 else "ok"
    return Finding(name, state, f"at most {limit} open files", "" if state == "ok" else _ENLARGE)


def _descriptor_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


async def reach(server: str) -> Finding:
    """Whether an orchestrator answers at the address and can take jobs."""
    start = "start one by `tb up`, or set TB_SERVER (or --server) to the address of one"
    if not _is_address(server):
        mend = "set TB_SERVER (or --server) to an address such as http://127.0.0.1:8700"
        return Finding("server", "fail", f"{server!r} is no address", mend)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=4) as client:
            answer = await client.get(f"{server.rstrip('/')}{API_PREFIX}/ready")
    except httpx.HTTPError as e:
        return Finding("server", "warn", f"nobody answers at {server} ({e or type(e).__name__})", start)
    try:
        health = answer.json()
        status, detail = str(health["status"]), str(health.get("detail") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return Finding("server", "fail", f"what answers at {server} is no orchestrator", start)
    if answer.status_code == 200 and status == "ok":
        return Finding("server", "ok", f"{server} answers and takes jobs")
    why = f"{server} answers, but takes no jobs now: {detail or status}"
    return Finding("server", "warn", why, "see the orchestrator's log; often the broker is not reachable")


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and (url.port or 1) <= 65535
