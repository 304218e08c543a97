"""Asks an orchestrator for what a session needs and nobody else may read: `runner.secret`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from broker_config import codec
from broker_config.envelope import Envelope
from broker_config.errors import BrokerUnavailable, SecretUnavailable
from broker_config.messages import SEALED, Dispatch, SecretBundle, SecretReply, SecretRequest
from broker_config.proxy import Proxy

from .link import Link

TIMEOUT = 2.0


class PoolFound(NamedTuple):
    """The enabled proxies of a pool; None where it is still the one that was known."""

    proxies: list[Proxy] | None
    revision: int


class SecretReader:
    """Every call raises `BrokerUnavailable` where the same may work in a moment, `SecretUnavailable` where
    the runner will not get it, and `MessageError` for an answer that cannot be read. `subject` is where it
    asks."""

    def __init__(self, link: Link, *, runner: str, instance: str, subject: Callable[[], str]) -> None:
        self._link = link
        self._runner = runner
        self._instance = instance
        self._subject = subject

    async def secrets(self, dispatch: Dispatch) -> dict[str, str]:
        """The secrets that the session's job names."""
        bundle = await self._ask(**_session(dispatch), want="secrets")
        if bundle is None:
            raise SecretUnavailable("a secret that the job names is not there any more")
        return bundle.secrets

    async def pool(self, dispatch: Dispatch, known: int = 0) -> PoolFound | None:
        """The proxies by which the session leaves; None if they are not there. `known` is the revision of the
        pool that the caller has."""
        bundle = await self._ask(**_session(dispatch), want="proxies", known=known)
        if bundle is None:
            return None
        return PoolFound(None if bundle.pool is None else bundle.pool.proxies, bundle.revision)

    async def trial(self, ticket: bytes) -> list[Proxy] | None:
        """The proxies that an order is about; None if their pool was changed or removed meanwhile."""
        bundle = await self._ask(want="trial", ticket=ticket)
        return None if bundle is None or bundle.pool is None else bundle.pool.proxies

    async def _ask(self, *, job: str = "", **more: Any) -> SecretBundle | None:
        """None if it is missing."""
        envelope = Envelope()
        request = SecretRequest(
            runner=self._runner, instance=self._instance, key=envelope.address, job=job, **more
        )
        msg = await self._link.request(self._subject(), codec.encode(request), timeout=TIMEOUT)
        if SEALED in (msg.headers or {}):
            bundle = codec.decode(envelope.open(msg.data), SecretBundle)
            if bundle.job != job:
                raise SecretUnavailable(f"the answer is about job {bundle.job!r}, not {job!r}")
            return bundle
        reply = codec.decode(msg.data, SecretReply)
        if reply.refusal == "missing":
            return None
        raise (BrokerUnavailable if reply.refusal == "unavailable" else SecretUnavailable)(reply.detail)


def _session(dispatch: Dispatch) -> dict[str, Any]:
    return {
        "job": dispatch.job,
        "session": dispatch.session,
        "attempt": dispatch.attempt,
        "platform": dispatch.platform,
    }
