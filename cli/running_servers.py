"""Which orchestrators run on this machine, and where each has put its credential.

A file for each port, in the user's state directory and in the orchestrator's own data directory: that a
client finds either of them, and can see whether the very process which wrote it still serves there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil

from broker_config.errors import SettingsError

from . import private_file

_FOLDER = "servers"
#: Start times of processes are this exact, s.
_EXACT = 1.0


class RunningServer(msgspec.Struct, frozen=True, kw_only=True):
    """`host` is the address that it is bound to; `url` the way to it on this machine."""

    url: str
    host: str
    port: int
    data_dir: str
    pid: int
    started: float

    @property
    def runs(self) -> bool:
        """Whether the process that wrote this is alive: while it is, nobody else can have its port."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return abs(process.create_time() - self.started) < _EXACT
        except psutil.Error:
            return False


def state_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("trafficbuster"))


@contextmanager
def noted(url: str, host: str, data_dir: Path) -> Iterator[None]:
    """While the block runs, clients on this machine find what this process serves at `url`."""
    port = urlsplit(url).port or 0
    own = RunningServer(
        url=url,
        host=host,
        port=port,
        data_dir=str(data_dir.absolute()),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )
    text = msgspec.json.encode(own).decode()
    paths = [_path(folder, port) for folder in (state_dir(), data_dir)]
    for path in paths:
        # A home that cannot be written is no reason not to serve.
        with contextlib.suppress(SettingsError):
            private_file.write(path, text)
    try:
        yield
    finally:
        for path in paths:
            if (found := _read(path)) is not None and found.pid == own.pid:
                with contextlib.suppress(OSError):
                    path.unlink()


def find(port: int, data_dirs: Sequence[Path]) -> RunningServer | None:
    """The one that serves at that port of this machine, if it still runs."""
    for folder in (state_dir(), *data_dirs):
        found = _read(_path(folder, port))
        if found is not None and found.port == port and found.runs:
            return found
    return None


def _path(folder: Path, port: int) -> Path:
    return folder / _FOLDER / f"{port}.json"


def _read(path: Path) -> RunningServer | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunningServer)
    except (OSError, msgspec.MsgspecError):
        return None
