"""Registers the runner with an orchestrator: at the start, after each reconnect, and when told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from broker_config import codec
from broker_config.errors import BrokerUnavailable, MessageError, RegistrationRefused
from broker_config.messages import RegisterReply, RegisterRequest, RunnerSettings
from broker_config.subjects import RUNNER_REGISTER
from runner.core.backoff import Backoff

from .link import Link

log = logging.getLogger(__name__)

PATIENCE = 2.0
#: Refusals that waiting can help against.
PASSING = ("unavailable", "duplicate_id")


class Registration:
    """`run` asks whenever it is due, until cancelled; `accepted` is called with the settings of each
    success."""

    def __init__(
        self,
        link: Link,
        request: RegisterRequest,
        *,
        backoff: Backoff,
        accepted: Callable[[RunnerSettings], None],
        subject: str = RUNNER_REGISTER,
    ) -> None:
        self._subject = subject
        self._link = link
        self._request = request
        self._backoff = backoff
        self._accepted = accepted
        self._due = asyncio.Event()
        self._due.set()

    def again(self) -> None:
        self._due.set()

    async def run(self) -> NoReturn:
        """Raises `RegistrationRefused` when waiting does not help."""
        told = ""
        while True:
            await self._due.wait()
            await self._link.up.wait()
            at_least = 0.0
            try:
                settings = await self._ask()
            except BrokerUnavailable as e:
                why = f"no orchestrator answers: {e}"
            except RegistrationRefused as e:
                if e.code not in PASSING:
                    raise
                why, at_least = str(e), e.retry_after or 0.0
            else:
                self._due.clear()
                self._backoff.reset()
                told = ""
                self._accepted(settings)
                # Whoever finds a consumer missing asks often; an orchestrator is asked once a second.
                await asyncio.sleep(1.0)
                continue
            if why != told:
                log.warning("not registered yet: %s", why)
                told = why
            await asyncio.sleep(self._backoff.pause(at_least))

    async def _ask(self) -> RunnerSettings:
        answer = await self._link.request(self._subject, codec.encode(self._request), timeout=PATIENCE)
        try:
            reply = codec.decode(answer.data, RegisterReply)
        except MessageError as e:
            raise RegistrationRefused("unavailable", f"its answer cannot be read: {e}") from None
        if reply.refusal is not None:
            refusal = reply.refusal
            raise RegistrationRefused(refusal.code, refusal.detail, refusal.retry_after_s)
        if reply.settings is None:
            raise RegistrationRefused("unavailable", "its answer has neither settings nor a refusal")
        return reply.settings
