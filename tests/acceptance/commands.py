"""Commands without the cost of imports: one process that has imported what they need, and forks each.

Run as a program it is that process: `python -m tests.acceptance.commands SOCKET`. It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: With what these import, most commands have all that they need. One that is not there only costs time.
MODULES = (
    *("cli.tb", "cli.audit", "cli.jobs", "cli.login", "cli.projects", "cli.proxies", "cli.report"),
    *("cli.secrets", "cli.targets", "cli.tokens", "cli.users", "httpcore", "yaml"),
    *("anyio._backends._asyncio", "pydantic.fields", "typer._adapters"),
)


class Commands:
    def __init__(self, at: Path) -> None:
        self._at = str(at)

    async def run(
        self, module: str, arguments: tuple[str, ...], stdin: bytes, environ: Mapping[str, str]
    ) -> tuple[int, bytes, bytes]:
        """As `python -m module …`: its exit code, and what it wrote to stdout and stderr."""
        loop = asyncio.get_running_loop()
        request = json.dumps([module, arguments, os.getcwd(), dict(environ)]).encode()
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s,
        ):
            given.write(stdin)
            given.seek(0)
            s.connect(self._at)
            socket.send_fds(s, [request], [given.fileno(), out.fileno(), err.fileno()])
            s.setblocking(False)
            pid = int(await loop.sock_recv(s, 100))
            try:
                code = int(await loop.sock_recv(s, 100))
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise
            for file in (out, err):
                file.seek(0)
            return code, out.read(), err.read()


@contextmanager
def commands(at: Path, environ: Mapping[str, str]) -> Iterator[Commands]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.commands", str(at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield Commands(at)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def _serve(at: str) -> str:
    """Returns in the processes that are to run a command, with the module that they are to run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(at)
        listener.listen()
        for module in MODULES:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module)
        gc.freeze()
        # Nobody waits for those that wait for commands.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, 0], [], [])
            if listener not in ready:
                sys.exit()
            asked, _ = listener.accept()
            with asked:
                if not os.fork():
                    listener.close()
                    return _command(asked)


def _command(asked: socket.socket) -> str:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, files, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    module, arguments, directory, environ = json.loads(data)
    pid = os.fork()
    if pid:
        asked.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):  # it took too long, and was killed
            asked.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [module, *arguments]
    return str(module)


if __name__ == "__main__":
    chosen = _serve(sys.argv[1])
    # Of a package that is imported already, the module runs once more, as it does with `-m`.
    sys.modules.pop(chosen, None)
    runpy.run_module(chosen, run_name="__main__", alter_sys=True)
