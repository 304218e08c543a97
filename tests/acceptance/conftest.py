"""Real browsers and a machine to run commands on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from runner.browser import installer
from tests.support.site import Site, open_site

from .machine import Machine


@pytest_asyncio.fixture(scope="session", autouse=True)
async def browsers() -> None:
    """Chromium and Firefox, installed if need be."""
    found = await installer.ensure(["chromium", "firefox"], print)
    assert {b.browser for b in found} == {"chromium", "firefox"}


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def machine(tmp_path: Path, bytecode: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine", bytecode)
    yield machine
    machine.clear()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site
