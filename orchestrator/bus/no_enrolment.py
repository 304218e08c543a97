"""In place of `Enrolment` where the broker is open: each call says so."""

from __future__ import annotations

from typing import NoReturn

from broker_config.enrolment import InviteOrder, RunnerJoin
from broker_config.errors import BrokerIsOpen


class NoEnrolment:
    """Every call raises `BrokerIsOpen`."""

    async def invite(self, order: InviteOrder, by: str) -> NoReturn:
        raise BrokerIsOpen

    async def invites(self) -> NoReturn:
        raise BrokerIsOpen

    async def remove_invite(self, id: str) -> NoReturn:
        raise BrokerIsOpen

    async def join(self, wish: RunnerJoin, address: str) -> NoReturn:
        raise BrokerIsOpen

    async def revoke(self, name: str, by: str) -> NoReturn:
        raise BrokerIsOpen
