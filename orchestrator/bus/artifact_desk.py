"""Answers `runner.artifact`: whether a job's bounds have room for what a session has left behind.

Any orchestrator can; what a job has used stands in the bucket `artifact_quotas`, changed by compare-and-set.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.artifacts import ArtifactInfo, ArtifactName, Artifacts
from broker_config.errors import Conflict, MessageError, NameRefused, TrafficBusterError
from broker_config.messages import PROTOCOL, PROTOCOL_OLDEST, ArtifactReply, ArtifactRequest
from broker_config.streams import ARTIFACT_QUOTAS
from broker_config.subjects import RUNNER_ARTIFACT, RUNNER_ARTIFACT_QUEUE, token
from orchestrator.core.artifact_quota import Quota, grant

from .jet import Jet
from .job_store import JobStore
from .quarantine import Quarantine

log = logging.getLogger(__name__)

_STREAM = f"KV_{ARTIFACT_QUOTAS.name}"
_ATTEMPTS = 20
#: Jobs whose bounds are remembered: they never change.
_REMEMBERED = 1_000


class ArtifactDesk:
    """`run` answers until cancelled."""

    def __init__(self, jet: Jet, store: JobStore, quarantine: Quarantine) -> None:
        self._jet = jet
        self._store = store
        self._quarantine = quarantine
        #: Set once requests are subscribed to.
        self.listening = asyncio.Event()
        self._bounds: OrderedDict[str, Artifacts] = OrderedDict()
        # One after the other here, so that only other orchestrators can get in between.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:

            async def take(msg: Msg) -> None:
                group.create_task(self._answer(msg), name="artifacts of a session")

            sub = await self._jet.nc.subscribe(RUNNER_ARTIFACT, queue=RUNNER_ARTIFACT_QUEUE, cb=take)
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                await sub.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        if not msg.reply:
            return
        try:
            reply = await self._decide(codec.decode(msg.data, ArtifactRequest))
        except MessageError as e:
            self._quarantine.put("artifact", msg.subject, msg.data, str(e))
            reply = ArtifactReply(granted=[], reason=str(e))
        except TrafficBusterError as e:
            reply = ArtifactReply(granted=[], reason=str(e))
        await self._jet.nc.publish(msg.reply, codec.encode(reply))

    async def _decide(self, request: ArtifactRequest) -> ArtifactReply:
        if not PROTOCOL_OLDEST <= request.protocol <= PROTOCOL:
            raise MessageError(f"an ArtifactRequest of protocol {request.protocol}")
        try:
            key = token(request.job, "job id")
            if any(ArtifactName.parse(i.name).job != key or i.bytes < 0 for i in request.items):
                raise ValueError(f"it names artifacts that are not of job {key}, or less than nothing")
        except (NameRefused, ValueError) as e:
            raise MessageError(f"not a usable ArtifactRequest: {e}") from None
        bounds = await self._bounds_of(key)
        async with self._turn:
            granted, reason = await self._grant(key, request.items, bounds)
        return ArtifactReply(granted=[i.name for i in granted], reason=reason)

    async def _grant(
        self, job: str, items: list[ArtifactInfo], bounds: Artifacts
    ) -> tuple[list[ArtifactInfo], str]:
        subject = f"$KV.{ARTIFACT_QUOTAS.name}.{job}"
        for _ in range(_ATTEMPTS):
            entry = await self._jet.get(_STREAM, subject)
            used = codec.decode(entry.value, Quota) if entry and not entry.deleted else Quota()
            after, granted, reason = grant(used, items, bounds)
            if not granted:
                return [], reason
            try:
                revision = entry.revision if entry else 0
                await self._jet.publish(subject, codec.encode(after), expected_last=revision)
            except Conflict:
                continue
            return granted, reason
        raise Conflict(f"the artifacts of job {job} come too fast to count them")

    async def _bounds_of(self, job: str) -> Artifacts:
        """Raises `JobNotFound`."""
        bounds = self._bounds.get(job)
        if bounds is None:
            bounds = self._bounds[job] = (await self._store.get(job)).spec.artifacts
            if len(self._bounds) > _REMEMBERED:
                self._bounds.popitem(last=False)
        return bounds
