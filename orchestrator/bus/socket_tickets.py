"""Tickets for handshakes of `/ws`, in a bucket that forgets them: any orchestrator takes them, once."""

from __future__ import annotations

import hashlib
import secrets

from broker_config import codec
from broker_config.errors import Conflict, MessageError
from broker_config.streams import SOCKET_TICKETS
from orchestrator.core.access import Principal

from .jet import Jet

STREAM = f"KV_{SOCKET_TICKETS.name}"
_BYTES = 32
_LENGTH = 43


class SocketTickets:
    """Every call may raise `BrokerUnavailable`."""

    def __init__(self, jet: Jet) -> None:
        self._jet = jet

    async def issue(self, principal: Principal) -> str:
        """A new ticket. Raises `StreamFull` where there are far too many."""
        ticket = secrets.token_urlsafe(_BYTES)
        await self._jet.publish(_subject(ticket), codec.encode(principal), expected_last=0)
        return ticket

    async def redeem(self, ticket: str) -> Principal | None:
        """For whom it was issued; None if it is not known, too old, or was used before."""
        if len(ticket) != _LENGTH:
            return None
        at = _subject(ticket)
        entry = await self._jet.get(STREAM, at)
        if entry is None or entry.deleted:
            return None
        try:
            # Of two who show it at the same time one is the first.
            await self._jet.publish_marker(at, entry.revision)
            return codec.decode(entry.value, Principal)
        except (Conflict, MessageError):
            return None


def _subject(ticket: str) -> str:
    """Who can read the bucket has no tickets by that."""
    return f"$KV.{SOCKET_TICKETS.name}.{hashlib.sha256(ticket.encode()).hexdigest()}"
