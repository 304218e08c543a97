"""Keeps the runner's credential from running out: renewed over the broker, stored, used from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from broker_config import codec
from broker_config.broker_login import BrokerLogin
from broker_config.errors import BrokerUnavailable, MessageError, SettingsError
from broker_config.messages import RenewReply, RenewRequest
from broker_config.runner_credential import RunnerCredential
from broker_config.subjects import runner_renew
from runner.core.backoff import Backoff

from .link import Link

log = logging.getLogger(__name__)

PATIENCE = 5.0
#: The clock is looked at so often, s: a machine that slept must not sleep on.
_LOOK_EVERY = 60.0


class CredentialKeeper:
    """`run` renews until cancelled. `clock` gives seconds since 1970."""

    def __init__(
        self, credential: RunnerCredential, data_dir: Path, *, clock: Callable[[], float], backoff: Backoff
    ) -> None:
        self.current = credential
        self._data_dir = data_dir
        self._clock = clock
        self._backoff = backoff

    def login(self) -> BrokerLogin:
        """With the newest token, at each connect."""
        return BrokerLogin(self.current.seed.encode(), lambda: self.current.token)

    async def run(self, link: Link) -> NoReturn:
        while True:
            left = self.current.renew_at - self._clock()
            if left > 0:
                await asyncio.sleep(min(left, _LOOK_EVERY))
                continue
            await link.up.wait()
            try:
                final = await self._renew(link)
            except (BrokerUnavailable, MessageError, SettingsError) as e:
                log.warning("the runner's credential is not renewed yet: %s", e)
                await asyncio.sleep(self._backoff.pause())
                continue
            self._backoff.reset()
            if final:
                # The broker ends the connection when its time is over.
                await asyncio.Event().wait()

    async def _renew(self, link: Link) -> bool:
        """True where no other answer will come."""
        request = RenewRequest(runner=self.current.runner, key=self.current.key)
        msg = await link.request(runner_renew(request.runner), codec.encode(request), timeout=PATIENCE)
        reply = codec.decode(msg.data, RenewReply)
        if reply.grant is None:
            if reply.final:
                log.error("the runner's credential will not be renewed: %s", reply.refusal)
                return True
            raise BrokerUnavailable(reply.refusal or "the answer holds nothing")
        renewed = self.current.granted(reply.grant, now=self._clock())
        await asyncio.to_thread(renewed.save, self._data_dir)
        self.current = renewed
        log.info("the runner's credential is renewed")
        # The broker goes by the token that was shown at the connect, and would end with it.
        await link.reconnect()
        return False
