"""Platforms: `<os>-<browser>`, the token in `job.dispatch.<platform>`."""

from __future__ import annotations

import sys

SYSTEMS = ("linux", "windows", "macos")
BROWSERS = ("chromium", "chrome", "msedge", "firefox", "webkit")
PLATFORMS = tuple(f"{s}-{b}" for s in SYSTEMS for b in BROWSERS)


def parse_platform(value: str) -> tuple[str, str]:
    """`(os, browser)` of a platform; `ValueError` says which are allowed."""
    system, _, browser = value.partition("-")
    if system not in SYSTEMS or browser not in BROWSERS:
        raise ValueError(
            f"{value!r} is not a platform; use <os>-<browser> with os one of {', '.join(SYSTEMS)} "
            f"and browser one of {', '.join(BROWSERS)}"
        )
    return system, browser


def this_system() -> str:
    """The operating system of this machine, as platforms name it."""
    if sys.platform == "win32":
        return "windows"
    return "macos" if sys.platform == "darwin" else "linux"
