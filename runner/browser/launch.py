"""How each browser is started."""

from __future__ import annotations

import os
import sys
from typing import Any

from .found import FoundBrowser

#: Hosts that full Chromium calls by itself in spite of Playwright's flags. Only those: pages may use others
#: of the same owner (fonts, maps), and must get them.
_CALLS_HOME = (
    "accounts.google.com",
    "android.clients.google.com",
    "clients.google.com",
    "clients1.google.com",
    "clients2.google.com",
    "clients3.google.com",
    "clients4.google.com",
    "clientservices.googleapis.com",
    "content-autofill.googleapis.com",
    "dl.google.com",
    "edgedl.me.gvt1.com",
    "mtalk.google.com",
    "optimizationguide-pa.googleapis.com",
    "redirector.gvt1.com",
    "safebrowsing.googleapis.com",
    "safebrowsingohttpgateway.googleapis.com",
    "update.googleapis.com",
)


def launch_options(found: FoundBrowser, mark: str, user_agent: str, limit: float) -> dict[str, Any]:
    """Arguments for Playwright's `launch`. `user_agent` is "" for the browser's own; `limit` is seconds."""
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
        options["args"] += [
            "--disable-quic",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        ]
        if not found.headless_shell:
            rules = ", ".join(f"MAP {host} ~NOTFOUND" for host in _CALLS_HOME)
            options["args"].append(f"--host-resolver-rules={rules}")
        if user_agent:
            options["args"].append(f"--user-agent={user_agent}")
    elif found.browser == "firefox" and user_agent:
        options["firefox_user_prefs"] = {"general.useragent.override": user_agent}
    return options


def launcher_name(browser: str) -> str:
    """The attribute of Playwright that starts this browser."""
    return browser if browser in ("firefox", "webkit") else "chromium"
