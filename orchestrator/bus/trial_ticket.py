"""What an order to test proxies lets its runner ask for: only those, only that runner, only for a while."""

from __future__ import annotations

import msgspec

from broker_config import codec
from broker_config.seal import Seal

#: How long it holds, s.
LIFE = 60.0
_PLACE = "trial"


class TrialTicket(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed, so that any orchestrator can tell its own tickets, and nobody else can make one. `until` is in
    seconds since 1970."""

    runner: str
    pool: str
    revision: int
    first: int
    count: int
    until: float

    def sealed(self, seal: Seal) -> bytes:
        return seal.seal(_PLACE, codec.encode(self))

    @classmethod
    def read(cls, data: bytes, seal: Seal) -> TrialTicket:
        """Raises `SealBroken`."""
        return codec.decode(seal.open(_PLACE, data), cls)
