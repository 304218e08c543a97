"""The stream DISPATCH: sending sessions, taking them back, looking at what is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from broker_config import codec
from broker_config.errors import MessageError
from broker_config.messages import Dispatch
from broker_config.signature import Signer, Verifier
from broker_config.streams import DISPATCH
from broker_config.subjects import JOB_DISPATCHES, dispatch_consumer, job_dispatch

from .jet import Jet, ToPublish
from .job_grants import JobGrants

log = logging.getLogger(__name__)


class Queued(NamedTuple):
    seq: int
    dispatch: Dispatch


class DispatchQueue:
    """`signer` signs what is sent, and `verifier` says whose signatures hold for what is there; both or
    neither. `clock` gives seconds since 1970. `refused` is called with what is removed, and why. `grants`
    makes those of its jobs; else what is signed brings one for the origins that it names."""

    def __init__(
        self,
        jet: Jet,
        *,
        clock: Callable[[], float],
        signer: Signer | None = None,
        verifier: Verifier | None = None,
        refused: Callable[[str, bytes, str], None] | None = None,
        grants: JobGrants | None = None,
    ) -> None:
        self._jet = jet
        self._clock = clock
        self._signer = signer
        self._verifier = verifier
        self._refused = refused
        self._grants = grants or (JobGrants(signer) if signer is not None else None)

    async def send(self, dispatches: Sequence[Dispatch]) -> list[int]:
        """Sign and publish; the sequence of each. One that the broker still remembers keeps its first
        sequence."""
        now = self._clock()
        return [ack.seq for ack in await self._jet.publish_all([self._message(d, now) for d in dispatches])]

    def _message(self, dispatch: Dispatch, now: float) -> ToPublish:
        subject = job_dispatch(dispatch.platform, dispatch.pool)
        grant = self._grants.of(dispatch, now) if self._grants is not None else None
        data = codec.encode(msgspec.structs.replace(dispatch, issued_at=now, grant=grant))
        headers = self._signer.headers(subject, data) if self._signer is not None else {}
        return ToPublish(subject, data, dispatch.message_id, headers)

    async def withdraw(self, seq: int) -> bool:
        """Take one message back; False if it is there no more (it was acked)."""
        return await self._jet.delete(DISPATCH.name, seq)

    async def withdraw_all(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            await self.withdraw(seq)

    async def given(self, lane: str) -> int:
        """Runners were given all messages of the lane up to this sequence, in order."""
        platform, _, pool = lane.partition(".")
        consumer = dispatch_consumer(platform, pool or None)
        info = await self._jet.api(f"CONSUMER.INFO.{DISPATCH.name}.{consumer}")
        return int(info["delivered"]["stream_seq"])

    async def scan(self) -> list[Queued]:
        """All messages now: those that wait and those that a runner holds. Those that cannot be read, or that
        no orchestrator has signed, are removed."""
        out = []
        for stored in await self._jet.read_all(DISPATCH.name, JOB_DISPATCHES):
            try:
                if self._verifier is not None:
                    self._verifier.verify(stored.subject, stored.data, stored.headers)
                out.append(Queued(stored.seq, codec.decode(stored.data, Dispatch)))
            except MessageError as e:
                log.warning("message %d of %s is removed: %s", stored.seq, DISPATCH.name, e)
                if await self.withdraw(stored.seq) and self._refused is not None:
                    self._refused(stored.subject, stored.data, str(e))
        return out
