"""The keyring of orchestrators without a directory: one for all, made once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SettingsError
from broker_config.provisioning import provision
from orchestrator.bus.jet import Jet
from orchestrator.bus.shared_keyring import SUBJECT, shared_keyring


async def test_all_orchestrators_get_the_same_and_it_is_said_once(
    own_broker: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(own_broker.url, name="one") as one, connected(own_broker.url, name="two") as two:
        await provision(one)
        with caplog.at_level(logging.WARNING, "orchestrator.bus.shared_keyring"):
            rings = await asyncio.gather(*(shared_keyring(Jet(nc)) for nc in (one, two) * 5))
            rings.append(await shared_keyring(Jet(one)))
        assert all(ring == rings[0] for ring in rings)
        said = [r.getMessage() for r in caplog.records if "no directory of keys" in r.getMessage()]
        assert len(said) == 1
        assert rings[0].seal.hex() not in said[0]
        # A keyring that was removed is made anew.
        await Jet(one).publish_marker(SUBJECT, 1)
        assert await shared_keyring(Jet(two)) != rings[0]


async def test_a_keyring_that_cannot_be_read_is_left_alone(own_broker: EmbeddedServer) -> None:
    async with connected(own_broker.url, name="one") as nc:
        await provision(nc)
        await Jet(nc).publish(SUBJECT, b"{}")
        with pytest.raises(SettingsError, match="shared keyring on the broker cannot be read"):
            await shared_keyring(Jet(nc))
