"""A browser on this machine, and how users name one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from broker_config.errors import SettingsError
from broker_config.platform import BROWSERS


class FoundBrowser(msgspec.Struct, frozen=True, kw_only=True):
    """`browser` is the name in platforms. `channel` is Playwright's name for a stock browser, where it needs
    one. `version` is what is known without starting it, often nothing."""

    browser: str
    path: str
    channel: str | None = None
    version: str = ""
    headless_shell: bool = False

    def __str__(self) -> str:
        kind = f"{self.browser} (headless shell)" if self.headless_shell else self.browser
        return f"{kind} at {self.path}"


class Wanted(NamedTuple):
    """A browser asked for by the user: by name, or the file too."""

    browser: str
    path: str | None = None


def parse_wanted(text: str, source: str = "browser") -> Wanted:
    """Read `chromium`, `/opt/chrome/chrome` or `chromium=/opt/chrome/chrome`. Raises `SettingsError`."""
    text = text.strip()
    if text in BROWSERS:
        return Wanted(text)
    name, sign, path = text.partition("=")
    if sign and name in BROWSERS and path:
        return Wanted(name, path)
    if "/" in text or "\\" in text:
        guessed = guess_browser(text)
        if guessed is not None:
            return Wanted(guessed, text)
        raise SettingsError(f"{source}: cannot tell which browser {text!r} is; write <name>={text}")
    raise SettingsError(
        f"{source}: {text!r} is no browser; use one of {', '.join(BROWSERS)}, a path, or <name>=<path>"
    )


def guess_browser(path: str) -> str | None:
    """The browser that a file is, by its name and its folders'."""
    whole = path.lower().replace("\\", "/")
    name = whole.rsplit("/", 1)[-1]
    for mark, browser in (
        ("headless", "chromium"),
        ("chromium", "chromium"),
        ("firefox", "firefox"),
        ("msedge", "msedge"),
        ("microsoft-edge", "msedge"),
        ("pw_run", "webkit"),
        ("google-chrome", "chrome"),
    ):
        if mark in name:
            return browser
    if "chrome" in name:
        return "chromium" if "chromium" in whole else "chrome"
    return None


#: A folder of Playwright's own downloads.
_OWN = re.compile(r"[/\\\\](chromium|chromium_headless_shell|firefox|webkit)-\d+[/\\\\]")


def describe(browser: str, path: Path, version: str = "") -> FoundBrowser:
    """The browser in this file."""
    channel = {"chrome": "chrome", "msedge": "msedge"}.get(browser)
    if browser == "firefox" and not _OWN.search(str(path)):
        channel = "moz-firefox"  # a stock Firefox, over WebDriver BiDi
    return FoundBrowser(
        browser=browser,
        path=str(path),
        channel=channel,
        version=version,
        headless_shell="headless" in path.name,
    )
