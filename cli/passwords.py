"""Passwords as they are given: in a file, on standard input, or typed unseen; never on the command line."""

from __future__ import annotations

import getpass
import sys

from broker_config.errors import Problem, SpecError

_MAX_BYTES = 4096


def of(file: str | None, prompt: str) -> str:
    """From `file` (`-`: standard input), or asked for. Raises `SpecError`."""
    if file is not None:
        return _read(file)
    if not sys.stdin.isatty():
        raise SpecError([Problem("", "there is no terminal to ask for a password; give --password-file")])
    return _asked(prompt)


def new(file: str | None, who: str) -> str:
    """A password that is to be set: typed twice."""
    found = of(file, f"new password of {who}: ")
    if file is None and _asked("once more: ") != found:
        raise SpecError([Problem("", "the two are not the same; nothing was changed")])
    return found


def _asked(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise SpecError([Problem("", "no password was given")]) from None


def _read(file: str) -> str:
    source = "standard input" if file == "-" else file
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with open(file, "rb") as opened:
                data = opened.read(_MAX_BYTES + 1)
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], source) from None
    except UnicodeDecodeError:
        raise SpecError([Problem("", "it is not UTF-8 text")], source) from None
    if not text or len(data) > _MAX_BYTES:
        raise SpecError([Problem("", "it does not hold a password, and nothing else")], source)
    return text
