"""Fixtures for all tests: a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings
from nats.aio.client import Client

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer

# A busy machine is no reason to call a law broken; what failed is printed so that it can be tried again.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")


@pytest_asyncio.fixture(scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    """A broker that all tests share: use subjects, streams and buckets of your own, or `own_broker`."""
    async with EmbeddedServer(tmp_path_factory.mktemp("broker"), sync_always=False) as server:
        yield server


@pytest_asyncio.fixture(scope="session")
async def broker_url(broker: EmbeddedServer) -> str:
    return broker.url


@pytest_asyncio.fixture
async def nc(broker_url: str) -> AsyncIterator[Client]:
    """A client of the shared broker."""
    async with connected(broker_url, name="test") as client:
        yield client


@pytest_asyncio.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A fresh, empty broker for one test, which may do with it what it likes."""
    async with EmbeddedServer(tmp_path / "own-broker", sync_always=False) as server:
        yield server
