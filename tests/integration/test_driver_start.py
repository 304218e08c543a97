"""A start of Playwright's driver that is given up on its way."""

from __future__ import annotations

import asyncio
import sys

import pytest

_PROGRAM = """
import asyncio, sys
from runner.browser.driver import Driver

async def main():
    driver = Driver()
    start = asyncio.create_task(driver.playwright())
    while not any("Connection.run.<locals>.init" in repr(task) for task in asyncio.all_tasks()):
        await asyncio.sleep(0)
    await asyncio.sleep(float(sys.argv[1]))
    start.cancel()
    await asyncio.wait({start})
    await driver.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", [0, 0.02, 0.05, 0.1])
async def test_it_does_not_keep_the_program(moment: float) -> None:
    """Given up so many seconds after the driver was asked for its first answer."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROGRAM, str(moment))
    try:
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
