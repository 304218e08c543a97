"""Answers `runner.artifact`: whether a job's bounds have room for what a session has left behind.

Any orchestrator can; what a job has used stands in the bucket `artifact_quotas`, changed by compare-and-set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from nats.aio.msg import Msg

from broker_config import codec
from broker_config.artifacts import MAX_TTL, MIN_TTL, ArtifactInfo, ArtifactName, Artifacts
from broker_config.errors import Conflict, MessageError, NameRefused, TrafficBusterError
from broker_config.messages import PROTOCOL, PROTOCOL_OLDEST, ArtifactReply, ArtifactRequest
from broker_config.object_store import CHUNK, ObjectMeta, meta_subject, stream_name
from broker_config.streams import ARTIFACT_QUOTAS, ARTIFACTS
from broker_config.subjects import (
    RUNNER_ARTIFACT,
    RUNNER_ARTIFACT_QUEUE,
    RUNNER_ARTIFACTS,
    is_inbox,
    runner_artifact,
    token,
)
from orchestrator.core.artifact_quota import Quota, grant
from orchestrator.core.roster import Roster
from orchestrator.core.turnstile import Turnstile

from .claim import Claim
from .jet import Jet
from .job_store import JobStore
from .quarantine import Quarantine

log = logging.getLogger(__name__)

_STREAM = f"KV_{ARTIFACT_QUOTAS.name}"
_ATTEMPTS = 20
#: Questions of one runner in a second; those beyond get no answer.
MOST_ASKED = 200
#: Jobs whose bounds are remembered: they never change.
_REMEMBERED = 1_000


class ArtifactDesk:
    """`run` answers until cancelled. `problem` says why a runner's credential is not for a job's pool."""

    def __init__(
        self,
        jet: Jet,
        store: JobStore,
        quarantine: Quarantine,
        roster: Roster | None = None,
        problem: Claim | None = None,
    ) -> None:
        self._roster = roster
        self._problem = problem
        self._clock = time.time
        self._jet = jet
        self._store = store
        self._quarantine = quarantine
        #: Set once requests are subscribed to.
        self.listening = asyncio.Event()
        self._specs: OrderedDict[str, tuple[Artifacts, str | None]] = OrderedDict()
        # One after the other here, so that only other orchestrators can get in between.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        turnstile = Turnstile(MOST_ASKED)
        async with asyncio.TaskGroup() as group:

            async def take(msg: Msg) -> None:
                if msg.subject != RUNNER_ARTIFACT and not turnstile.lets(msg.subject, self._clock()):
                    await asyncio.sleep(0)
                    return
                group.create_task(self._answer(msg), name="artifacts of a session")

            subs = [
                await self._jet.nc.subscribe(subject, queue=RUNNER_ARTIFACT_QUEUE, cb=take)
                for subject in (RUNNER_ARTIFACT, RUNNER_ARTIFACTS)
            ]
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                for sub in subs:
                    await sub.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        if not is_inbox(msg.reply):
            return
        try:
            request = codec.decode(msg.data, ArtifactRequest)
            if msg.subject not in (RUNNER_ARTIFACT, runner_artifact(request.runner)):
                raise MessageError(f"a question of runner {request.runner} came on {msg.subject}")
            if request.stored is not None:
                reply = await self._name(request.runner, request.stored)
            else:
                reply = await self._decide(request)
        except (MessageError, NameRefused) as e:
            self._quarantine.put("artifact", msg.subject, msg.data, str(e))
            reply = ArtifactReply(granted=[], reason=str(e))
        except TrafficBusterError as e:
            reply = ArtifactReply(granted=[], reason=str(e))
        await self._jet.nc.publish(msg.reply, codec.encode(reply))

    async def _name(self, runner: str, meta: ObjectMeta) -> ArtifactReply:
        """Write the message about an object: once, so that nobody takes the place of another's."""
        try:
            name = ArtifactName.parse(meta.name)
            token(meta.nuid, "chunks")
        except (ValueError, NameRefused) as e:
            raise MessageError(f"not a usable ArtifactRequest: {e}") from None
        await self._bounds_of(name.job, runner)
        holder = self._roster.holder(name.job, name.session) if self._roster else None
        if holder not in (None, runner):
            raise MessageError(f"runner {runner} names an artifact of a session that runner {holder} runs")
        plain = ObjectMeta(
            name=meta.name,
            bucket=ARTIFACTS.name,
            nuid=meta.nuid,
            size=meta.size,
            chunks=meta.chunks,
            mtime=meta.mtime,
            digest=meta.digest,
            metadata={k: v for k, v in meta.metadata.items() if k in ("kind", "expires")},
            options={"max_chunk_size": CHUNK},
        )
        expires = plain.metadata.get("expires", "")
        left = float(expires) - self._clock() if expires.isdecimal() else MIN_TTL
        ttl = round(min(max(left, MIN_TTL), MAX_TTL))
        subject = meta_subject(ARTIFACTS.name, meta.name)
        try:
            await self._jet.publish(subject, codec.encode(plain), expected_last=0, ttl=ttl)
        except Conflict:
            # Its own, whose answer was lost, or another's: in both cases what is there stays.
            entry = await self._jet.get(stream_name(ARTIFACTS.name), subject)
            if entry is None or entry.value != codec.encode(plain):
                raise MessageError(f"an artifact {meta.name} is there already") from None
        return ArtifactReply(granted=[meta.name])

    async def _decide(self, request: ArtifactRequest) -> ArtifactReply:
        if not PROTOCOL_OLDEST <= request.protocol <= PROTOCOL:
            raise MessageError(f"an ArtifactRequest of protocol {request.protocol}")
        try:
            key = token(request.job, "job id")
            if any(ArtifactName.parse(i.name).job != key or i.bytes < 0 for i in request.items):
                raise ValueError(f"it names artifacts that are not of job {key}, or less than nothing")
        except (NameRefused, ValueError) as e:
            raise MessageError(f"not a usable ArtifactRequest: {e}") from None
        bounds = await self._bounds_of(key, request.runner)
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

    async def _bounds_of(self, job: str, runner: str) -> Artifacts:
        """Raises `JobNotFound`, and `MessageError` where the job's sessions are not for that runner."""
        known = self._specs.get(job)
        if known is None:
            spec = (await self._store.get(job)).spec
            known = self._specs[job] = (spec.artifacts, spec.pool)
            if len(self._specs) > _REMEMBERED:
                self._specs.popitem(last=False)
        bounds, pool = known
        if self._problem and (wrong := self._problem(runner, pool, (), scripts=False)):
            raise MessageError(f"job {job} has no sessions for runner {runner}: {wrong.text}")
        return bounds
