"""Scripted journeys in a real browser: what they are given, what is measured, and how they fail."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from broker_config.messages import Dispatch
from broker_config.script import Script
from runner.browser import script_run, script_watch
from runner.browser.executor import BrowserExecutor
from tests.support.ports import free_ports
from tests.support.sessions import a_session, browsers_of, silent
from tests.support.site import Site, open_site

SHOP = """<h1>Shop</h1><label>Email <input id=mail></label>
<a href=/thanks>Pay</a><p id=out></p>"""


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        site.pages |= {"/shop": SHOP, "/thanks": "<h1>Thank you</h1>"}
        yield site


def scripted(
    url: str, body: str, *, head: str = "async def journey(page, context, data):", **more: Any
) -> Dispatch:
    source = f"{head}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
    return a_session(url, script=Script(source=source, file="pay.py"), **more)


async def test_a_script_has_page_context_data_and_steps(executor: BrowserExecutor, site: Site) -> None:
    said: list[tuple[str, str]] = []
    dispatch = scripted(
        f"{site.url}/shop",
        """
        assert page.context is context
        async with step("open"):
            await page.goto(data["url"])
        await page.get_by_label("Email").fill(data["user.email"])
        async with step("pay"):
            await page.get_by_role("link", name="Pay").click()
            await page.wait_for_url("**/thanks")
        await page.goto("/shop")
        """,
        variables={"user.email": "ada@shop.test"},
    )
    outcome = await executor.run(dispatch, lambda *a: said.append(a))
    assert (outcome.status, outcome.error) == ("ok", None)
    assert [(s.name, s.ok) for s in outcome.steps] == [("open", True), ("pay", True)]
    assert all(0 < s.ms < 5000 for s in outcome.steps)
    assert said[0][0] == "step"
    assert said[0][1].startswith('step "open": ')
    # Three documents, each with its own numbers.
    assert [p.url for p in outcome.pages] == [f"{site.url}{p}" for p in ("/shop", "/thanks", "/shop")]
    assert all(p.measures.http_status == 200 and p.measures.ttfb for p in outcome.pages)
    assert outcome.measures.load


async def test_without_a_third_parameter_and_with_helpers_of_its_own(
    executor: BrowserExecutor, site: Site
) -> None:
    source = """
import re

PATH = "/shop"

async def open_shop(page):
    await page.goto(PATH)

async def main(page, context):
    await context.add_cookies([{"name": "a", "value": "b", "url": URL}])
    await open_shop(page)
    assert re.match("Shop", await page.locator("h1").inner_text())
""".replace("URL", repr(site.url))
    dispatch = a_session(site.url, script=Script(source=source, function="main"))
    outcome = await executor.run(dispatch, silent)
    assert (outcome.status, outcome.error) == ("ok", None)


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        ("x = 1\nassert x == 2", "script_failed", "pay.py line 3: AssertionError: assert x == 2"),
        ("raise ValueError('no stock')", "script_failed", "pay.py line 2: ValueError: no stock"),
        (
            "await page.goto('/shop')\nasync with step('pay'):\n    await page.click('#gone', timeout=200)",
            "step_failed",
            'step "pay", pay.py line 4: Timeout 200ms exceeded.',
        ),
        (
            "try:\n    async with step('a'):\n        1 / 0\nexcept ZeroDivisionError:\n    pass\n{}['b']",
            "script_failed",
            "pay.py line 7: KeyError: 'b'",
        ),
        (
            "import sys\nsys.exit(3)",
            "script_failed",
            "pay.py line 3: SystemExit: it wanted to end the program",
        ),
        ("import asyncio\nraise asyncio.CancelledError", "script_failed", "pay.py line 3: CancelledError"),
        ("await page.goto('http://127.0.0.1:1/')", "origin_refused", "http://127.0.0.1:1 is none of"),
        ("await page.goto('/none')", "http_status", "the server answered 404"),
    ],
)
async def test_a_failure_names_the_line_and_is_never_the_runners(
    executor: BrowserExecutor, site: Site, body: str, kind: str, detail: str
) -> None:
    outcome = await executor.run(scripted(f"{site.url}/shop", body), silent)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == (kind, False)
    assert outcome.error.detail.startswith(detail)


async def test_a_site_that_is_not_there_is_the_sites_failure(executor: BrowserExecutor) -> None:
    (port,) = free_ports(1)
    nobody = scripted(f"http://127.0.0.1:{port}/", "await page.goto(data['url'])")
    outcome = await executor.run(nobody, silent)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.infrastructure) == ("connection_failed", False)


async def test_a_script_that_waits_too_long_is_ended_and_says_where(
    executor: BrowserExecutor, site: Site
) -> None:
    dispatch = scripted(site.url, "import asyncio\nawait asyncio.sleep(60)", session_limit=0.8)
    outcome = await executor.run(dispatch, silent)
    assert outcome.error is not None
    assert outcome.error.kind == "session_timeout"
    assert outcome.error.detail.endswith("at pay.py line 3")


async def test_a_script_that_holds_the_loop_is_interrupted_alone(
    executor: BrowserExecutor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_watch, "PATIENCE", 0.5)
    monkeypatch.setattr(script_watch, "AGAIN", 0.1)
    blocking = scripted(
        site.url, "import time\nwith_patience = 1\ntry:\n    time.sleep(60)\nexcept Exception:\n    pass"
    )
    spinning = scripted(site.url, "async with step('spin'):\n    while True:\n        pass")
    patient = scripted(f"{site.url}/shop", "await page.goto(data['url'])")
    reading = a_session(f"{site.url}/shop", dwell=0.2)
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *(executor.run(d, silent) for d in (blocking, spinning, patient, reading))
    )
    assert time.monotonic() - began < 10
    held, spun, *others = outcomes
    assert [o.status for o in others] == ["ok", "ok"]
    assert held.error is not None
    assert held.error.kind == "script_failed"
    assert held.error.detail.startswith("pay.py line 5: it held the runner for more than 0.5 s")
    assert spun.error is not None
    assert spun.error.kind == "step_failed"
    assert not spun.error.infrastructure
    # The next session finds nothing of it.
    assert (await executor.run(patient, silent)).status == "ok"


async def test_what_a_handler_raises_is_its_scripts_failure_and_nobody_elses(
    executor: BrowserExecutor, site: Site
) -> None:
    body = """
    page.on("response", lambda response: {}["status"])
    await page.goto(data["url"])
    await page.wait_for_timeout(15_000)
    """
    outcomes = await asyncio.gather(
        executor.run(scripted(f"{site.url}/shop", body), silent),
        *(executor.run(a_session(f"{site.url}/shop", dwell=0.5), silent) for _ in range(4)),
    )
    broken, *others = outcomes
    assert [(o.status, o.error) for o in others] == [("ok", None)] * 4
    assert broken.error is not None
    assert (broken.error.kind, broken.error.detail) == ("script_failed", "pay.py line 2: KeyError: 'status'")
    assert broken.duration_ms < 10_000


async def test_a_script_that_will_not_end_keeps_neither_session_nor_browser(
    executor: BrowserExecutor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_run, "GRACE", 0.2)
    body = """
    import asyncio
    for _ in range(18):
        try:
            await asyncio.sleep(0.4)
        except BaseException:
            pass
    """
    browsers = browsers_of(executor)
    stubborn, other = await asyncio.gather(
        executor.run(scripted(site.url, body, session_limit=0.5), silent),
        executor.run(a_session(f"{site.url}/shop", dwell=1.5), silent),
    )
    assert stubborn.error is not None
    assert stubborn.error.kind == "session_timeout"
    assert (other.status, other.error) == ("ok", None)
    assert browsers_of(executor) == browsers


def test_what_heeds_no_interruption_ends_the_process() -> None:
    program = """
import asyncio, signal, sys, time
from runner.browser.script_watch import watched

async def main():
    with watched(patience=0.2, last=1.0):
        await asyncio.sleep(2.0)  # this lets go
        print("came round", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "came round\n")
    assert "time.sleep" not in done.stderr
    assert "in main" in done.stderr
