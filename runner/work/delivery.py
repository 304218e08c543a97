"""One delivery of a dispatched session: which attempt it is, and how to answer it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from nats.aio.msg import Msg

from broker_config.errors import MessageError

from .link import Link

_ACK, _TERM, _WORKING = b"+ACK", b"+TERM", b"+WPI"


class Delivery(NamedTuple):
    """`subject` is where it was published, `reply` the ack subject; `number` counts deliveries of the message
    from 1; the lease runs from `since` (lease clock) at the earliest."""

    subject: str
    data: bytes
    reply: str
    number: int
    since: float
    headers: Mapping[str, str] = {}

    @classmethod
    def of(cls, msg: Msg, since: float) -> Delivery:
        return cls(msg.subject, msg.data, msg.reply, delivery_number(msg.reply), since, msg.headers or {})

    async def ack(self, link: Link) -> bool:
        return await ack(link, self.reply)

    async def hand_back(self, link: Link, delay: float = 0.0) -> bool:
        """Let another runner have it, after `delay` seconds. Only under a living lease."""
        options = json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b""
        return await link.send(self.reply, b"-NAK " + options if options else b"-NAK")

    async def reject(self, link: Link) -> bool:
        """Nobody shall have it."""
        return await link.send(self.reply, _TERM)

    async def renew(self, link: Link, timeout: float) -> None:
        """Returns when the broker has confirmed; raises `BrokerUnavailable`."""
        await link.request(self.reply, _WORKING, timeout=timeout)


async def ack(link: Link, reply: str) -> bool:
    return await link.send(reply, _ACK)


def delivery_number(reply: str) -> int:
    """The number of deliveries in `$JS.ACK[.<domain>.<account>].<stream>.<consumer>.<number>.…`."""
    tokens = reply.split(".")
    try:
        if tokens[:2] == ["$JS", "ACK"] and len(tokens) >= 9:
            return int(tokens[4 if len(tokens) == 9 else 6])
    except ValueError:
        pass
    raise MessageError(f"{reply!r} is not the ack subject of a delivery")
