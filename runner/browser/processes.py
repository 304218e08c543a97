"""Processes of browsers: found by a mark on their command line, ended as whole trees, from outside.

The mark, `--trafficbuster-browser=<pid of the runner>-<n>`, means nothing to the browser; `ps` shows it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys

import psutil

MARK = "--trafficbuster-browser="
_numbers = itertools.count(1)


def new_mark() -> str:
    """A command line argument that no other browser on this machine has."""
    return f"{MARK}{os.getpid()}-{next(_numbers)}"


def alive(process: psutil.Process) -> bool:
    """Whether the process runs; one that has ended and only waits to be collected does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def marked_child(parent: psutil.Process, mark: str) -> psutil.Process | None:
    """The child of `parent` whose command line holds `mark`."""
    with contextlib.suppress(psutil.Error):
        for child in parent.children():
            if mark in _command_line(child):
                return child
    return None


def kill_tree(process: psutil.Process) -> None:
    """Kill the process and all that descend from it. Does nothing where they have ended already."""
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += process.children(recursive=True)
    if sys.platform != "win32" and alive(process):
        # Browsers lead a process group of their own: it also reaches what was started since the listing.
        with contextlib.suppress(OSError):
            if os.getpgid(process.pid) == process.pid != os.getpgid(0):
                os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()


def marked() -> list[psutil.Process]:
    """All browsers on this machine that a runner started, whichever runner."""
    return [p for p in psutil.process_iter() if any(a.startswith(MARK) for a in _command_line(p))]


def sweep_orphans() -> int:
    """Kill marked browsers whose driver is gone, and return their number.

    A browser ends with its driver, the driver with its runner; this finds what did not, because both were
    killed. It goes by the parent, not by the runner's pid: pids are used again, and differ in a container.
    """
    orphans = [p for p in marked() if not _has_driver(p)]
    for process in orphans:
        kill_tree(process)
    return len(orphans)


def _has_driver(process: psutil.Process) -> bool:
    """Whether a driver, or another marked browser process, is the parent."""
    try:
        parent = process.parent()
        command = parent.cmdline() if parent is not None else []
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # not ours to judge
    return "run-driver" in command or any(a.startswith(MARK) for a in command)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.Error, OSError):
        return []
