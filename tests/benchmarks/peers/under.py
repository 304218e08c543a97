"""Runs a command as the root of a process tree that loses nobody, and ends all of it when stdin closes.

    python under.py COMMAND …

Orphans come here instead of going to init, and are collected: so their CPU stays in the tree's account.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
#: Seconds from the polite word to the other one.
GRACE = 8.0


def below(root: int) -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    stat = file.read()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(name))
    found, left = [], [root]
    while left:
        found += (mine := children.get(left.pop(), []))
        left += mine
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1 << 16):
        pass
    until = time.monotonic() + GRACE
    os.kill(process.pid, signal.SIGTERM)
    while below(os.getpid()) and time.monotonic() < until:
        time.sleep(0.05)
    while left := below(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    os._exit(0)


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=end, args=(process,), daemon=True).start()
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)


if __name__ == "__main__":
    main()
