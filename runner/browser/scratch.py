"""Where a driver and its browsers keep temporary files: a directory of their own, swept when they are dead.

    <tmp>/tb-browsers-<random>/        profiles, downloads, artifacts
    <tmp>/tb-browsers-<random>.lock    held by the runner that made it

Playwright removes its temporary files when it ends in good order. A runner that is killed leaves them behind;
whoever starts next on this machine removes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from broker_config.file_lock import try_lock

#: Kept short: browsers put sockets in there, whose paths may have 100 characters or so.
PREFIX = "tb-browsers-"
#: Environment variables that say where temporary files go.
VARIABLES = ("TMPDIR", "TEMP", "TMP")


class Scratch:
    """A directory in `parent` until `remove`. Raises `OSError`."""

    def __init__(self, parent: Path) -> None:
        # The lock before the directory: what has a directory and no lock is dead.
        self._fd, lock = tempfile.mkstemp(prefix=PREFIX, suffix=".lock", dir=parent)
        self._lock = Path(lock)
        self.path = self._lock.with_suffix("")
        try:
            try_lock(self._fd)
            self.path.mkdir(mode=0o700)
        except OSError:
            self._let_go()
            raise

    def remove(self) -> None:
        """Remove it with all that is in it. What cannot be removed yet is left to the next sweep."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        gone = not self.path.exists()
        os.close(self._fd)
        if gone:
            self._lock.unlink(missing_ok=True)


def sweep(parent: Path) -> int:
    """Remove the directories in `parent` whose runner is gone; returns their number."""
    swept = 0
    for path in parent.glob(f"{PREFIX}*/"):
        lock = path.with_suffix(".lock")
        # Those of other users cannot be opened; they are none of ours.
        with contextlib.suppress(OSError):
            fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not try_lock(fd):
                    continue
                shutil.rmtree(path, ignore_errors=True)
                if not path.exists():
                    swept += 1
                    lock.unlink(missing_ok=True)
            finally:
                os.close(fd)
    return swept
