"""The keyring of orchestrators that were given no directory: one for all of them, in the bucket `settings`.

Whoever may read that bucket has the keys: that is for brokers that only orchestrators and trusted machines
reach.
"""

from __future__ import annotations

import logging

from broker_config.errors import Conflict
from broker_config.keyring import Keyring
from broker_config.streams import SETTINGS

from .jet import Jet

log = logging.getLogger(__name__)

STREAM = f"KV_{SETTINGS.name}"
SUBJECT = f"$KV.{SETTINGS.name}.keyring"


async def shared_keyring(jet: Jet) -> Keyring:
    """The keyring that is there; the first who asks makes it. Raises `SettingsError` if it cannot be read."""
    entry = await jet.get(STREAM, SUBJECT)
    if entry is None or entry.deleted:
        made = Keyring.new()
        try:
            await jet.publish(SUBJECT, made.encode(), expected_last=entry.revision if entry else 0)
        except Conflict:
            entry = await jet.get(STREAM, SUBJECT)
        else:
            log.warning(
                "no directory of keys was given: the keys that sign sessions and seal secrets are on the "
                "broker, in the bucket %s, for everybody who may read it; `tb keys init DIR` and --keys DIR "
                "keep them apart",
                SETTINGS.name,
            )
            return made
    assert entry is not None
    return Keyring.decode(entry.value)
