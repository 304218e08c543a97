"""A lock on a data directory: one nats-server at a time may have it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil

from .errors import ServerNotStarted
from .file_lock import try_lock

_FILE = "trafficbuster.lock"
_PAUSE = 0.05


class DataLock:
    """Held from `acquire` to `release`, or until every process that has `fd` open is gone.

    The kernel holds the lock, so a killed process leaves none behind. Where the server inherits `fd`, a
    server that outlives its killed parent by a moment keeps the directory to itself.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.fd = -1

    async def acquire(self, patience: float = 5.0) -> None:
        """Take the lock. Waits up to `patience` seconds for a holder that is dying, never for a live one.

        Raises `ServerNotStarted` that names the process which has the directory.
        """
        fd = os.open(self._data_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        try:
            while not try_lock(fd):
                holder = _holder(fd)
                if holder is None or _alive(holder) or clock() > deadline:
                    by = f" by process {holder}" if holder else ""
                    raise ServerNotStarted(
                        f"the data directory {self._data_dir} is in use{by}; stop that one, or give another "
                        "directory (--data-dir)"
                    )
                await asyncio.sleep(_PAUSE)
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, str(os.getpid()).encode())
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _holder(fd: int) -> int | None:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return int(os.read(fd, 32))
    except (ValueError, OSError):
        return None


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
