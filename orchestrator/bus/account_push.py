"""Changes the broker's accounts while it runs: over the system account, which all its nodes listen to."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client

from broker_config import connection, nats_jwt
from broker_config.broker_login import BrokerLogin
from broker_config.cancellation import kept
from broker_config.errors import BrokerRefused, BrokerUnavailable, MessageError
from broker_config.keyring import Keyring
from broker_config.nats_jwt import Claims
from broker_config.operator_mode import account_claims, runners_account

log = logging.getLogger(__name__)

_TIMEOUT = 5.0
#: What differs between two tokens of the same claims.
_OF_TOKEN = ("iat", "iss", "jti")


class AccountPush:
    """`nats` and `tls` as for `connection.connect`; `clock` gives seconds since 1970."""

    def __init__(
        self,
        nats: str,
        keyring: Keyring,
        *,
        name: str,
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._nats = nats
        self._keyring = keyring
        self._name = name
        self._clock = clock
        self._tls = tls
        # One after the other: a later push knows of no fewer revocations.
        self._turn = asyncio.Lock()
        self._nc: Client | None = None

    async def push(self, revoked: Callable[[], Mapping[str, float]], *, runners: bool = False) -> None:
        """Make the broker's accounts what they should be, without the keys that `revoked` gives at that
        moment; with `runners` the account of runners alone. Connections of those keys are cut before this
        returns.

        Raises `BrokerUnavailable` and `BrokerRefused`.
        """
        async with self._turn:
            nc = await self._connected()
            keyring, without = self._keyring, revoked()
            claims = [runners_account(keyring, without)] if runners else account_claims(keyring, without)
            for one in claims:
                await self._one(nc, one)

    async def close(self) -> None:
        """The next push connects anew."""
        nc, self._nc = self._nc, None
        if nc is not None:
            await connection.leave(nc)

    async def _connected(self) -> Client:
        """Kept: a revocation must not wait for a connection."""
        if self._nc is None or not self._nc.is_connected:
            await self.close()
            self._nc = await connection.connect(
                self._nats,
                name=f"accounts, {self._name}",
                login=BrokerLogin.of_system(self._keyring, self._name),
                tls=self._tls,
            )
        return self._nc

    async def _one(self, nc: Client, claims: Claims) -> None:
        there = await self._there(nc, claims["sub"])
        if there is not None and _essence(there) == claims:
            return
        # Nodes keep the newer one: whatever another orchestrator's clock says, this is newer.
        issued = max(self._clock(), float(there["iat"]) + 1 if there else 0.0)
        token = nats_jwt.encode(claims, self._keyring.operator, issued_at=issued)
        answer = json.loads(await self._ask(nc, "$SYS.REQ.CLAIMS.UPDATE", token.encode()))
        if error := answer.get("error"):
            raise BrokerRefused(
                f"the broker does not take the account {claims['name']}: "
                f"{str(error.get('description', error))[:200]}; is it in operator mode, under the same keys?"
            )
        log.info("the broker's account %s is as it should be", claims["name"])

    async def _there(self, nc: Client, account: str) -> Claims | None:
        found = await self._ask(nc, f"$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP", b"")
        try:
            return nats_jwt.decode(found.decode("ascii", "replace"))
        except MessageError:
            return None

    async def _ask(self, nc: Client, subject: str, data: bytes) -> bytes:
        try:
            return bytes((await kept(nc.request(subject, data, timeout=_TIMEOUT))).data)
        except (nats.errors.Error, TimeoutError) as e:
            raise BrokerUnavailable(
                f"the broker does not answer for its accounts ({str(e) or 'no answer'}); try again"
            ) from None


def _essence(claims: Mapping[str, Any]) -> Claims:
    return {key: value for key, value in claims.items() if key not in _OF_TOKEN}
