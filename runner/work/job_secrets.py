"""Secrets of the jobs whose sessions run here: asked for when one begins, forgotten when the last ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from broker_config import secret_ref
from broker_config.errors import BrokerUnavailable, MessageError, SecretUnavailable
from broker_config.messages import Dispatch

from .link import Link
from .log_mask import LogMask
from .secret_reader import SecretReader

#: Values older than this are asked for again before a session begins: a secret may have been set anew, s.
STALE = 30.0
_PAUSE = 0.2


class _Held:
    def __init__(self) -> None:
        self.users = 0
        self.values: dict[str, str] | None = None
        self.read_at = 0.0
        self.lock = asyncio.Lock()


class JobSecrets:
    """`clock` gives seconds; `limit` those that a session may wait for its secrets."""

    def __init__(
        self,
        link: Link,
        reader: SecretReader,
        log_mask: LogMask,
        *,
        clock: Callable[[], float],
        limit: Callable[[], float],
    ) -> None:
        self._link = link
        self._log_mask = log_mask
        self._reader = reader
        self._clock = clock
        self._limit = limit
        self._held: dict[str, _Held] = {}

    def __repr__(self) -> str:
        return f"JobSecrets({len(self._held)} jobs)"

    @asynccontextmanager
    async def given(self, dispatch: Dispatch) -> AsyncIterator[Dispatch]:
        """The session with its secrets filled in among its variables: for its executor alone. Raises
        `SecretUnavailable`."""
        rows = [dispatch.variables] if dispatch.variables else []
        named = secret_ref.first_places(dispatch.journey, rows, dispatch.script)
        if not named:
            yield dispatch
            return
        held = self._held.setdefault(dispatch.job, _Held())
        held.users += 1
        try:
            values = await self._values(held, dispatch)
            if lacking := [name for name in named if name not in values]:
                raise SecretUnavailable(f"the orchestrator did not send the secret {lacking[0]!r}")
            # No more than the session names itself: other rows of the job's data may name others.
            own = {name: values[name] for name in named}
            variables = secret_ref.filled_in(dispatch.variables, own)
            with self._log_mask.over(list(own.values())):
                try:
                    yield msgspec.structs.replace(dispatch, variables=variables)
                finally:
                    if dispatch.script is not None:
                        # What its stray tasks have raised is told when they are collected: not later.
                        gc.collect()
        finally:
            held.users -= 1
            if not held.users:
                self._held.pop(dispatch.job, None)

    async def _values(self, held: _Held, dispatch: Dispatch) -> dict[str, str]:
        trouble = "the broker does not answer"
        try:
            async with asyncio.timeout(self._limit()), held.lock:
                while held.values is None or self._clock() - held.read_at > STALE:
                    await self._link.up.wait()
                    try:
                        held.values = await self._reader.secrets(dispatch)
                        held.read_at = self._clock()
                    except BrokerUnavailable as e:
                        trouble = str(e)
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise SecretUnavailable(f"the job's secrets cannot be had: {trouble}") from None
        except MessageError as e:
            raise SecretUnavailable(f"the job's secrets cannot be read: {e}") from None
        return held.values
