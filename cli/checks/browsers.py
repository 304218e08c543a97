"""Which browsers are there, and do they start?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from broker_config.errors import BrowserError, SettingsError

from .finding import Finding, guarded

if TYPE_CHECKING:
    from runner.browser.found import FoundBrowser

#: Seconds for starting one browser.
BROWSER_LIMIT = 45.0
RUNNER_EXTRA = "pip install 'trafficbuster[runner]'"


async def browsers(start: bool) -> list[Finding]:
    """A finding for each browser on this machine, or one that says why there is none."""
    try:
        from runner.browser.finder import VARIABLE, installed
    except ImportError:
        return [Finding("browsers", "fail", "Playwright is not installed", RUNNER_EXTRA)]
    try:
        found = installed()
    except SettingsError as e:
        return [Finding("browsers", "fail", str(e), f"correct or unset {VARIABLE}")]
    if not found:
        mend = (
            "`playwright install chromium --only-shell`, or on Debian `apt install chromium-headless-shell`; "
            f"or set {VARIABLE} to the path of one"
        )
        return [Finding("browsers", "fail", "none found", mend)]
    if not start:
        return [Finding(f"browser {b.browser}", "ok", f"{b}, not started") for b in found]
    # One after the other: they would slow each other down.
    return judge_browsers(
        [await guarded(f"browser {b.browser}", partial(start_browser, b), BROWSER_LIMIT) for b in found]
    )


def judge_browsers(tried: Sequence[Finding]) -> list[Finding]:
    """One browser that works is enough; the others then are only worth a warning."""
    if any(f.state == "ok" for f in tried):
        return [f._replace(state="warn") if f.state == "fail" else f for f in tried]
    return list(tried)


async def start_browser(browser: FoundBrowser) -> Finding:
    """Start it, open a page in it and end it."""
    from runner.browser.executor import BrowserExecutor

    name = f"browser {browser.browser}"
    executor = BrowserExecutor([f"{browser.browser}={browser.path}"], say=lambda text: None)
    began = time.monotonic()
    try:
        await executor.start()
        version = executor.platforms[0].browser_version
    except BrowserError as e:
        mend = (
            "run the file by hand to see what it lacks (`playwright install-deps` installs libraries), or "
            "name only browsers that work in TB_BROWSER"
        )
        return Finding(name, "fail", str(e), mend)
    finally:
        await executor.close()
    return Finding(name, "ok", f"{version}, {browser}, started in {time.monotonic() - began:.1f} s")
