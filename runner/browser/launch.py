"""How each browser is started."""

from __future__ import annotations

import os
import sys
from typing import Any

from runner.gate.browser_side import CHROMIUM_FLAGS, context_proxy, firefox_prefs
from runner.gate.lease import Lease

from .found import FoundBrowser


def launch_options(found: FoundBrowser, mark: str, user_agent: str, limit: float) -> dict[str, Any]:
    """Arguments for Playwright's `launch`, of a browser that goes where it likes: see `fenced`.

    `user_agent` is "" for the browser's own; `limit` is seconds."""
    options: dict[str, Any] = {
        "executable_path": found.path,
        "headless": True,
        "args": [mark],
        "timeout": limit * 1000,
        # Signals are the runner's to handle: a drain must not lose its browsers to Ctrl-C.
        "handle_sigint": False,
        "handle_sigterm": False,
        "handle_sighup": False,
    }
    if found.channel is not None:
        options["channel"] = found.channel
    if found.browser in ("chromium", "chrome", "msedge"):
        # The sandbox cannot be had as root.
        options["chromium_sandbox"] = sys.platform == "win32" or os.geteuid() != 0
        if user_agent:
            options["args"].append(f"--user-agent={user_agent}")
    elif found.browser == "firefox" and user_agent:
        options["firefox_user_prefs"] = {"general.useragent.override": user_agent}
    return options


def fenced(options: dict[str, Any], browser: str, wall: Lease) -> dict[str, Any]:
    """These arguments, for a browser whose contexts each have a proxy of their own; what belongs to no
    context goes to `wall`, the lease of an empty policy."""
    if browser == "firefox":
        return {
            **options,
            "firefox_user_prefs": {**options.get("firefox_user_prefs", {}), **firefox_prefs(wall)},
        }
    if browser in ("chromium", "chrome", "msedge"):
        options = {**options, "args": [*options["args"], *CHROMIUM_FLAGS]}
    return {**options, "proxy": context_proxy(wall)}


def launcher_name(browser: str) -> str:
    """The attribute of Playwright that starts this browser."""
    return browser if browser in ("firefox", "webkit") else "chromium"
