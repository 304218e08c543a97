"""Runs a command so that it ends with the process that started it, by kill -9 of that process too.

    python guard.py tie <parent> <command> …   Linux: the kernel is asked to, then this becomes the command
    python guard.py watch <command> …          elsewhere: stays and ends the command when stdin closes

`<parent>` is the process id of the one that starts it.

Run as a file by itself, so that it starts in milliseconds: nothing but the standard library in here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1
#: Seconds between asking the command to end and killing it.
GRACE = 5.0


def command(argv: list[str]) -> list[str]:
    """`argv` under guard, to be started by this very process; `watch` also needs a pipe as its stdin."""
    python = [sys.executable, "-I", "-S", __file__]
    if sys.platform == "linux":
        return [*python, "tie", str(os.getpid()), *argv]
    else:
        return [*python, "watch", *argv]


def tie(parent: int, argv: list[str]) -> None:
    """Become `argv`, to be killed when the thread that started this process ends."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The signal comes for deaths after the call only.
    if os.getppid() != parent:
        sys.exit("the parent has ended already")
    try:
        os.execv(argv[0], argv)
    except OSError as e:
        sys.exit(f"{argv[0]} cannot be run: {e.strerror}")


def watch(argv: list[str]) -> int:
    """Run `argv`, end it when stdin closes or this process is told to end; returns its exit code."""
    child: subprocess.Popen[bytes] | None = None
    told = False

    def tell(*_: object) -> None:
        nonlocal told
        told = True
        if child is not None:
            child.terminate()

    # Before the command starts: it would be left alone by a guard that is ended between the two.
    signal.signal(signal.SIGTERM, tell)
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    if told:
        child.terminate()

    def end_with_stdin() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        child.terminate()
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=end_with_stdin, daemon=True).start()
    return child.wait()


def main(argv: list[str]) -> int:
    if argv[:1] == ["tie"]:
        tie(int(argv[1]), argv[2:])
    return watch(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
