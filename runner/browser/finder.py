"""Finding browsers: where they are told, where Playwright puts its own, where systems install them.

Nothing is started or installed here; `installer.ensure` does that where nothing is found.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import playwright

from broker_config.errors import SettingsError

from .found import FoundBrowser, Wanted, describe, parse_wanted

#: Names a browser or several, by path or `<name>=<path>`, separated by commas.
VARIABLE = "TB_BROWSER"

#: Wrapper scripts, slow and noisy, and the binary behind each.
_BEHIND = {
    "/usr/bin/chromium": "/usr/lib/chromium/chromium",
    "/usr/bin/chromium-headless-shell": "/usr/lib/chromium/chromium-headless-shell",
    "/usr/bin/firefox-esr": "/usr/lib/firefox-esr/firefox-esr",
    "/usr/bin/firefox": "/usr/lib/firefox/firefox",
}
_LINUX = {
    "chromium": (
        "/usr/lib/chromium/chromium-headless-shell",
        "/usr/lib/chromium/chromium",
        "/usr/lib64/chromium-browser/headless_shell",
        "/usr/lib64/chromium-browser/chromium-browser",
        "/usr/lib/chromium-browser/chromium-browser",
        "/snap/bin/chromium",
    ),
    "chrome": ("/opt/google/chrome/chrome",),
    "msedge": ("/opt/microsoft/msedge/msedge",),
    "firefox": (
        "/usr/lib/firefox-esr/firefox-esr",
        "/usr/lib/firefox/firefox",
        "/usr/lib64/firefox/firefox",
        "/opt/firefox/firefox",
        "/snap/bin/firefox",
    ),
}
_MACOS = {
    "chromium": ("/Applications/Chromium.app/Contents/MacOS/Chromium",),
    "chrome": ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",),
    "msedge": ("/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",),
    "firefox": ("/Applications/Firefox.app/Contents/MacOS/firefox",),
}
_WINDOWS = {
    "chromium": (r"Chromium\Application\chrome.exe",),
    "chrome": (r"Google\Chrome\Application\chrome.exe",),
    "msedge": (r"Microsoft\Edge\Application\msedge.exe",),
    "firefox": (r"Mozilla Firefox\firefox.exe",),
}
#: Playwright's own, in the order of preference.
_OWN = (
    ("chromium-headless-shell", "chromium"),
    ("chromium", "chromium"),
    ("firefox", "firefox"),
    ("webkit", "webkit"),
)
_OWN_FILES = {
    "chromium-headless-shell": (
        "chrome-headless-shell-*/chrome-headless-shell",
        "chrome-headless-shell-*/chrome-headless-shell.exe",
        "chrome-*/headless_shell*",
    ),
    "chromium": (
        "chrome-*/chrome",
        "chrome-*/chrome.exe",
        "chrome-mac*/*.app/Contents/MacOS/*",
    ),
    "firefox": ("firefox/firefox", "firefox/firefox.exe", "firefox/*.app/Contents/MacOS/firefox"),
    "webkit": ("pw_run.sh", "Playwright.exe"),
}


def installed(
    wanted: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    root: Path = Path("/"),
) -> list[FoundBrowser]:
    """The browsers that are there, one of each name, the best of each.

    `wanted` holds names, paths or `<name>=<path>`, and None asks for all that `TB_BROWSER` names or, where it
    is not set, for all that there are. Names that are not there are left out; a path that is not there raises
    `SettingsError`, because somebody wrote it down. `root` is where the system's folders hang.
    """
    told = _told(environ)
    if wanted is None:
        asked = told
    else:
        asked = [parse_wanted(w) for w in wanted]
        paths = {w.browser: w for w in reversed(told)}
        asked = [paths.get(w.browser, w) if w.path is None else w for w in asked]
    there = list(_everywhere(environ, root))
    if not asked and wanted is None:
        asked = [Wanted(b) for b in dict.fromkeys(f.browser for f in there)]
    found: dict[str, FoundBrowser] = {}
    for want in asked:
        best = _at(want) if want.path else next((f for f in there if f.browser == want.browser), None)
        if best is not None:
            found.setdefault(want.browser, best)
    return list(found.values())


def windowed(*, environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[FoundBrowser]:
    """The browsers that can open a window, the better first. Raises `SettingsError` as `installed` does."""
    told = [_at(w) for w in _told(environ) if w.path is not None]
    return [f for f in (*told, *_everywhere(environ, root)) if not f.headless_shell]


def _told(environ: Mapping[str, str]) -> list[Wanted]:
    parts = environ.get(VARIABLE, "").split(",")
    return [parse_wanted(part, VARIABLE) for part in parts if part.strip()]


def _at(want: Wanted) -> FoundBrowser:
    path = Path(_BEHIND.get(want.path or "", want.path or "")).expanduser()
    if not path.is_file() and want.path is not None:
        path = Path(want.path).expanduser()
    if not is_program(path):
        raise SettingsError(f"there is no program at {want.path}; correct the path of {want.browser}")
    return describe(want.browser, path)


def _everywhere(environ: Mapping[str, str], root: Path) -> Iterator[FoundBrowser]:
    """All that can be found, the better first."""
    yield from _playwrights_own(environ)
    for browser, path in _known_places(environ, root):
        if is_program(path):
            yield describe(browser, path)


def _playwrights_own(environ: Mapping[str, str]) -> Iterator[FoundBrowser]:
    package = Path(playwright.__file__).parent / "driver" / "package"
    try:
        listed = json.loads((package / "browsers.json").read_text())["browsers"]
    except (OSError, ValueError, KeyError):
        return
    versions = {b["name"]: (str(b["revision"]), str(b.get("browserVersion", ""))) for b in listed}
    for name, browser in _OWN:
        revision, version = versions.get(name, ("", ""))
        folder = downloads(environ, package) / f"{name.replace('-', '_')}-{revision}"
        for pattern in _OWN_FILES[name]:
            files = sorted(f for f in folder.glob(pattern) if is_program(f))
            if files:
                yield describe(browser, files[0], version)
                break


def downloads(environ: Mapping[str, str], package: Path) -> Path:
    """The folder into which Playwright puts its browsers."""
    told = environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if told == "0":
        return package / ".local-browsers"
    if told:
        return Path(told)
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "ms-playwright"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "ms-playwright"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "ms-playwright"


def _known_places(environ: Mapping[str, str], root: Path) -> Iterator[tuple[str, Path]]:
    if sys.platform == "win32":
        folders = [
            environ[n] for n in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA") if environ.get(n)
        ]
        for browser, names in _WINDOWS.items():
            yield from ((browser, Path(folder) / name) for name in names for folder in folders)
        return
    for browser, names in (_MACOS if sys.platform == "darwin" else _LINUX).items():
        yield from ((browser, root / name.lstrip("/")) for name in names)


def is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
