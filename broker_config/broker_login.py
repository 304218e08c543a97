"""Who connects to the broker, and the proof of it, in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from . import nats_jwt
from .keyring import Keyring
from .operator_mode import orchestrator_token, system_token


class BrokerLogin:
    """`token` gives the token to show, at each connect anew; `seed` is of the key that it names."""

    def __init__(self, seed: bytes, token: Callable[[], str]) -> None:
        self._seed = seed
        self.token = token

    def sign(self, nonce: bytes) -> bytes:
        """What the broker asks for as proof."""
        return nats_jwt.sign(self._seed, nonce)

    @classmethod
    def of_orchestrator(cls, keyring: Keyring, name: str) -> BrokerLogin:
        seed = nats_jwt.new_user_seed()
        key = nats_jwt.public_key(seed)
        return cls(seed, lambda: orchestrator_token(keyring, name, key, now=time.time()))

    @classmethod
    def of_system(cls, keyring: Keyring, name: str) -> BrokerLogin:
        """For changes of accounts."""
        seed = nats_jwt.new_user_seed()
        key = nats_jwt.public_key(seed)
        return cls(seed, lambda: system_token(keyring, name, key, now=time.time()))
