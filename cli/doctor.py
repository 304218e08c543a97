"""`tb doctor`: looks at what TrafficBuster needs on this machine, and says how to mend what is missing."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import httpx
import psutil

from broker_config.api import API_PREFIX
from broker_config.embedded_server import find_server
from broker_config.errors import BrowserError, ServerNotStarted, SettingsError

if TYPE_CHECKING:
    from runner.browser.found import FoundBrowser

State = Literal["ok", "warn", "fail"]
#: Seconds for one check, whatever it waits for; starting a browser may take longer.
LIMIT = 10.0
BROWSER_LIMIT = 45.0
WEB_PORT = 8700
NATS_PORT = 4222
_GB = 1 << 30
_RUNNER = "pip install 'trafficbuster[runner]'"
_ORCHESTRATOR = "pip install 'trafficbuster[orchestrator]'"
_ENLARGE = "raise the limit: `ulimit -n 4096` in this shell, or LimitNOFILE= in a service"


class Finding(NamedTuple):
    """`warn` works, but not well or not fully; `fail` does not. `mend` says what to do, empty where all is
    well."""

    name: str
    state: State
    found: str
    mend: str = ""


class Reading(NamedTuple):
    """Both clocks at one moment, seconds."""

    wall: float
    monotonic: float


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
        *(_guarded(name, check, LIMIT) for name, check in checks)
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


async def _guarded(name: str, check: Callable[[], Awaitable[Finding]], limit: float) -> Finding:
    """A check that breaks or hangs is a finding too."""
    try:
        async with asyncio.timeout(limit):
            return await check()
    except TimeoutError:
        return Finding(name, "fail", f"no answer in {limit:g} s", "see whether the machine is overloaded")
    except Exception as e:
        why = f"the check itself failed: {type(e).__name__}: {e}"
        return Finding(name, "fail", why, "please report this, with the output of `tb doctor`")


def python(version: Sequence[int]) -> Finding:
    text = ".".join(map(str, version))
    if tuple(version[:2]) < (3, 11):
        return Finding("Python", "fail", text, "use Python 3.11 or newer: `uv python install 3.12`")
    return Finding("Python", "ok", text)


def packages(is_there: Callable[[str], object] = importlib.util.find_spec) -> Finding:
    """The extras: what only the orchestrator or only the runner needs."""
    extras = {_ORCHESTRATOR: ("starlette", "uvicorn"), _RUNNER: ("playwright",)}
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
        text = await _output(str(path), "--version")
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


async def browsers(start: bool) -> list[Finding]:
    """A finding for each browser on this machine, or one that says why there is none."""
    try:
        from runner.browser.finder import VARIABLE, installed
    except ImportError:
        return [Finding("browsers", "fail", "Playwright is not installed", _RUNNER)]
    try:
        found = installed()
    except SettingsError as e:
        return [Finding("browsers", "fail", str(e), f"correct or unset {VARIABLE}")]
    if not found:
        mend = (
            "`playwright install chromium --only-shell`, or on Debian `apt install chromium-headless-shell`; "
            f"or set {VARIABLE} to the path of one"
        )
        return [Finding("browsers", "fail", "none found", mend)]
    if not start:
        return [Finding(f"browser {b.browser}", "ok", f"{b}, not started") for b in found]
    # One after the other: they would slow each other down.
    return judge_browsers(
        [await _guarded(f"browser {b.browser}", partial(start_browser, b), BROWSER_LIMIT) for b in found]
    )


def judge_browsers(tried: Sequence[Finding]) -> list[Finding]:
    """One browser that works is enough; the others then are only worth a warning."""
    if any(f.state == "ok" for f in tried):
        return [f._replace(state="warn") if f.state == "fail" else f for f in tried]
    return list(tried)


async def start_browser(browser: FoundBrowser) -> Finding:
    """Start it, open a page in it and end it."""
    from runner.browser.executor import BrowserExecutor

    name = f"browser {browser.browser}"
    executor = BrowserExecutor([f"{browser.browser}={browser.path}"], say=lambda text: None)
    began = time.monotonic()
    try:
        await executor.start()
        version = executor.platforms[0].browser_version
    except BrowserError as e:
        mend = (
            "run the file by hand to see what it lacks (`playwright install-deps` installs libraries), or "
            "name only browsers that work in TB_BROWSER"
        )
        return Finding(name, "fail", str(e), mend)
    finally:
        await executor.close()
    return Finding(name, "ok", f"{version}, {browser}, started in {time.monotonic() - began:.1f} s")


async def web_port(port: int) -> Finding:
    name = f"port {port}"
    if not await listens(port):
        return Finding(name, "ok", "free")
    with contextlib.suppress(httpx.HTTPError, ValueError, TypeError, AttributeError):
        async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
            answer = (await client.get(f"http://127.0.0.1:{port}{API_PREFIX}/health")).json()
            if "status" in answer and "broker" in answer:
                return Finding(name, "ok", f"an orchestrator ({answer.get('version') or '?'}) answers there")
    return _taken(name, port, "another program", "--port")


async def nats_port(port: int) -> Finding:
    name = f"port {port}"
    if not await listens(port):
        return Finding(name, "ok", "free")
    greeting = ""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                greeting = (await reader.readline()).decode(errors="replace")
            finally:
                writer.close()
    if not greeting.startswith("INFO "):
        return _taken(name, port, "another program", "another broker port, and --nats for its address")
    try:
        info = json.loads(greeting[5:])
    except ValueError:
        info = {}
    if not info.get("jetstream"):
        return Finding(
            name,
            "warn",
            "a nats-server without JetStream answers there",
            "turn JetStream on (`nats-server -js`), or use another broker (--nats)",
        )
    return Finding(name, "ok", f"nats-server {info.get('version', '?')} with JetStream answers there")


async def listens(port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _taken(name: str, port: int, by: str, instead: str) -> Finding:
    who = listener(port) or by
    return Finding(name, "warn", f"taken by {who}", f"end it, or use {instead}")


def listener(port: int) -> str:
    """The process that listens there, where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid:
                return f"{psutil.Process(c.pid).name()} (process {c.pid})"
    return ""


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


async def clock() -> Finding:
    """Whether the clock tells a sane time, runs evenly and is kept right by the network."""
    before = Reading(time.time(), time.monotonic())
    # A moment over which both clocks are compared; usually the question below is quicker.
    synchronised, _ = await asyncio.gather(_synchronised(), asyncio.sleep(0.25))
    return judge_clock(before, Reading(time.time(), time.monotonic()), synchronised)


def judge_clock(before: Reading, after: Reading, synchronised: bool | None) -> Finding:
    """`synchronised` is what the system says about network time; None where it does not say."""
    now = datetime.fromtimestamp(after.wall, UTC)
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    mend = "turn network time on (`timedatectl set-ntp true`, chrony or ntpd)"
    if not 2025 <= now.year <= 2100:
        return Finding("clock", "fail", f"{shown} cannot be right", f"set it, and {mend}")
    drift = (after.wall - before.wall) - (after.monotonic - before.monotonic)
    if abs(drift) > 0.05:
        why = f"it jumped by {drift * 1000:+.0f} ms while it was watched"
        return Finding("clock", "warn", f"{shown}; {why}", f"see what sets it, and {mend}")
    if synchronised is False:
        return Finding("clock", "warn", f"{shown}; not synchronised by network time", mend)
    kept = "synchronised" if synchronised else "even; the system does not tell about network time"
    return Finding("clock", "ok", f"{shown}, {kept}")


async def _synchronised() -> bool | None:
    if shutil.which("timedatectl") is None:
        return None
    try:
        async with asyncio.timeout(2):
            said = await _output("timedatectl", "show", "--property=NTPSynchronized", "--value")
    except (OSError, TimeoutError):
        return None
    return {"yes": True, "no": False}.get(said.strip())


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


async def _output(*command: str) -> str:
    """What a command says; it ends with this call, whatever ends this call. Raises `OSError`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")
