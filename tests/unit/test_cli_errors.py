"""The command as users start it: errors are words and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_ports

HEAVY = ("httpx", "websockets", "nats", "playwright", "starlette", "uvicorn", "msgspec", "rich", "yaml")


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`tb` in an empty home, away from this machine's settings."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("TB_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "cli.tb", *arguments],
        cwd=cwd,
        env=keep | {"HOME": str(cwd), "NO_COLOR": "1"} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_traceback_is_there_for_who_wants_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = run("jobs", "list", cwd=tmp_path, TB_SERVER=f"http://127.0.0.1:{port}", TB_DEBUG="1")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["jobs", "list"], {"TB_SERVER": "localhost:8700"}, "write http://host:port"),
        (["jobs", "list"], {"TB_PORT": "x"}, "TB_PORT: 'x' is not allowed"),
        (["--config", "none.toml", "jobs", "list"], {}, "none.toml does not exist"),
    ],
)
def test_mistakes_of_the_user(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    done = run(*arguments, cwd=tmp_path, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_ends_it_silently(tmp_path: Path) -> None:
    """For tables of rich too, which would make it exit code 1."""
    script = (
        "from cli.failure import in_words\n"
        "from cli.output import out\n"
        "with in_words():\n"
        "    while True: out().print('x')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "x\n"
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    script = f"import sys, cli.tb, cli.tb_runner; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr


def test_completion_is_offered(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--install-completion" in done.stdout
    assert "--show-completion" in done.stdout
    assert "demo-shop" not in done.stdout
