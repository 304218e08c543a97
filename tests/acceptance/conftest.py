"""Real browsers and a machine to run commands on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from runner.browser import installer
from tests.support.site import Site, open_site

from .commands import Commands, commands
from .machine import Machine


@pytest_asyncio.fixture(scope="session", autouse=True)
async def browsers() -> None:
    """Chromium and Firefox, installed if need be."""
    found = await installer.ensure(["chromium", "firefox"], print)
    assert {b.browser for b in found} == {"chromium", "firefox"}


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    # Short: the path of a socket has a limit.
    with tempfile.TemporaryDirectory() as directory, commands(Path(directory) / "s", os.environ) as found:
        yield found


@pytest.fixture
def machine(
    tmp_path: Path, bytecode: Path, forked: Commands, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine", bytecode, forked)
    # What tests ask by themselves, they ask with the credentials of that machine.
    monkeypatch.setenv("XDG_STATE_HOME", str(machine.root / "state"))
    yield machine
    machine.clear()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site
