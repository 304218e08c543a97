"""What scripts raise beside their function, and sessions that are cancelled while a script runs."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker_config.messages import Dispatch
from broker_config.script import Script
from runner.browser import script_run
from runner.browser.executor import BrowserExecutor
from tests.support.sessions import a_session, browsers_of, silent
from tests.support.site import Site, open_site

HEAD = "import asyncio, sys\n\nasync def journey(page, context, data):\n"
CHILD = "async def leave(*_):\n    sys.exit(3)\n"


@pytest_asyncio.fixture(scope="module")
async def executor() -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor(["chromium"])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        site.pages["/shop"] = "<h1>Shop</h1>"
        yield site


def scripted(url: str, body: str, session_limit: float = 20.0) -> Dispatch:
    source = HEAD + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    return a_session(url, script=Script(source=source, file="pay.py"), session_limit=session_limit)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (f"{CHILD}await asyncio.gather(leave(), asyncio.sleep(15))", "pay.py line 5: SystemExit"),
        (f"{CHILD}asyncio.create_task(leave())\nawait asyncio.sleep(15)", "pay.py line 5: SystemExit"),
        (
            "async def stop():\n    raise KeyboardInterrupt\n"
            "async with asyncio.TaskGroup() as group:\n    group.create_task(stop())",
            "pay.py line 5: KeyboardInterrupt",
        ),
        (
            "page.on('response', lambda _: sys.exit())\nawait page.goto('/shop')\nawait asyncio.sleep(15)",
            "pay.py line 4: SystemExit",
        ),
        (
            f"{CHILD}page.on('response', leave)\nawait page.goto('/shop')\nawait asyncio.sleep(15)",
            "pay.py line 5: SystemExit",
        ),
        (
            f"{CHILD}await page.route('**/*', leave)\nawait page.goto('/shop', timeout=15_000)",
            "pay.py line 5: SystemExit",
        ),
    ],
)
async def test_who_wants_to_end_the_program_ends_its_own_session(
    executor: BrowserExecutor, site: Site, body: str, where: str
) -> None:
    began = time.monotonic()
    left, other = await asyncio.gather(
        executor.run(scripted(f"{site.url}/shop", body), silent),
        executor.run(a_session(f"{site.url}/shop", dwell=0.5), silent),
    )
    assert time.monotonic() - began < 10
    assert left.error is not None
    assert (left.error.kind, left.error.infrastructure) == ("script_failed", False)
    assert left.error.detail == f"{where}: it wanted to end the program"
    assert (other.status, other.error) == ("ok", None)


async def test_what_a_script_leaves_behind_ends_nothing_either(executor: BrowserExecutor, site: Site) -> None:
    body = """
    async def late():
        await asyncio.sleep(0.2)
        sys.exit(3)
    data["task"] = asyncio.create_task(late())
    """
    outcome = await executor.run(scripted(f"{site.url}/shop", body), silent)
    assert (outcome.status, outcome.error) == ("ok", None)
    late = next(t for t in asyncio.all_tasks() if "late" in repr(t.get_coro()) or "late" in repr(t))
    await asyncio.wait({late})
    assert "SystemExit" in str(late.exception())


async def test_a_task_of_the_programs_own_may_end_it(executor: BrowserExecutor, site: Site) -> None:
    """As before: only scripts may not."""
    await executor.run(scripted(f"{site.url}/shop", "pass"), silent)

    async def leave() -> None:
        raise SystemExit(3)

    # Run by hand, as the loop would: it lets nothing of the kind pass without ending.
    made = asyncio.get_running_loop().create_task(leave())
    coro = made.get_coro()
    made.cancel()
    await asyncio.wait({made})
    assert made.cancelled()
    with pytest.raises(SystemExit):
        type(coro)(leave()).send(None)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(60)",
        "await page.goto('/held')",
        "try:\n    await asyncio.sleep(60)\nfinally:\n    raise SystemExit(3)",
        "try:\n    await asyncio.sleep(60)\nexcept BaseException:\n    pass",
        "async with step('wait'):\n    await asyncio.gather(*(asyncio.sleep(60) for _ in range(3)))",
    ],
)
async def test_a_cancelled_session_is_cancelled_whatever_its_script_makes_of_it(
    executor: BrowserExecutor, site: Site, body: str
) -> None:
    before = asyncio.all_tasks()
    running = await started(executor, site, body)
    began = time.monotonic()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert time.monotonic() - began < 2
    await asyncio.sleep(0)  # the last callbacks
    assert [t for t in asyncio.all_tasks() - before if t.get_name() == "script"] == []


async def test_a_cancelled_session_does_not_wait_for_a_script_that_ignores_it(
    executor: BrowserExecutor, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_run, "GRACE", 0.2)
    browsers = browsers_of(executor)
    body = """
    for _ in range(12):
        try:
            await asyncio.sleep(0.2)
        except BaseException:
            pass
    """
    other = asyncio.create_task(executor.run(a_session(f"{site.url}/shop", dwell=1.0), silent))
    running = await started(executor, site, body)
    began = time.monotonic()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert time.monotonic() - began < 2
    assert (await other).status == "ok"
    assert browsers_of(executor) == browsers
    # It goes on without its page, and ends when it likes.
    await asyncio.wait([t for t in asyncio.all_tasks() if t.get_name() == "script"], timeout=5)


async def started(executor: BrowserExecutor, site: Site, body: str) -> asyncio.Task[object]:
    """A session whose script has begun with `body`."""
    begun = asyncio.Event()

    def say(_event: str, text: str) -> None:
        if text.startswith('step "begin"'):
            begun.set()

    whole = f"async with step('begin'):\n    pass\n{textwrap.dedent(body).strip()}"
    running: asyncio.Task[object] = asyncio.create_task(
        executor.run(scripted(f"{site.url}/shop", whole), say)
    )
    await begun.wait()
    return running
