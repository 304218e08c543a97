"""Sends the artifacts of a session to the object store, where the job's bounds have room for them.

An artifact that cannot be stored is left out, and never keeps a session from being reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from broker_config import codec
from broker_config.artifacts import ArtifactInfo, ArtifactName, Artifacts
from broker_config.errors import BrokerError, BrokerUnavailable, MessageError, StreamFull
from broker_config.messages import ArtifactReply, ArtifactRequest, Dispatch
from broker_config.object_store import CHUNK, ObjectMeta, chunk_subject, digest, meta_subject
from broker_config.streams import ARTIFACTS
from broker_config.subjects import RUNNER_ARTIFACT, runner_artifact
from runner.core.outcome import Artifact

from .link import Link

log = logging.getLogger(__name__)

#: All of a session's artifacts have to be stored within this time, s.
LIMIT = 20.0
#: For the orchestrator's word, and for the stream's, s.
PATIENCE = 2.0
_FULL = (10047, 10077, 10023)


class ArtifactStore:
    """`named`: the runner has a credential, asks under its name, and names nothing in the store itself.
    `new_id` gives names for the chunks of an object, new at each call; `wall` seconds since 1970."""

    def __init__(
        self,
        link: Link,
        runner: str,
        *,
        new_id: Callable[[], str],
        wall: Callable[[], float],
        limit: float = LIMIT,
        named: bool = False,
    ) -> None:
        self._subject = runner_artifact(runner) if named else RUNNER_ARTIFACT
        self._named = named
        self._link = link
        self._runner = runner
        self._new_id = new_id
        self._wall = wall
        self._limit = limit

    async def keep(
        self, dispatch: Dispatch, artifacts: Sequence[Artifact], stored: list[ArtifactInfo]
    ) -> str:
        """Store what there is room for: `stored` grows meanwhile, and is complete also where this is
        cancelled. Returns why some are left out, or "". Raises nothing; the files are the caller's to remove.
        """
        reason = ""
        try:
            async with asyncio.timeout(self._limit):
                items = {str(self._name(dispatch, a)): a for a in artifacts}
                granted, reason = await self._ask(dispatch.job, items)
                for info in granted:
                    await self._put(info, items[info.name].path, dispatch.artifacts or Artifacts())
                    stored.append(info)
        except TimeoutError:
            reason = f"they could not be sent within {self._limit:g} s"
        except (BrokerError, MessageError, OSError) as e:
            reason = str(e)
        except Exception as e:
            # Whatever it is, the session is worth more than its pictures.
            log.exception("unexpected error while artifacts of job %s are stored", dispatch.job)
            reason = f"{type(e).__name__}: {e}"
        return reason

    def _name(self, dispatch: Dispatch, artifact: Artifact) -> ArtifactName:
        return ArtifactName(dispatch.job, dispatch.session, dispatch.attempt, artifact.name)

    async def _ask(self, job: str, items: dict[str, Artifact]) -> tuple[list[ArtifactInfo], str]:
        """What may be stored, and why not the rest."""
        infos = [
            ArtifactInfo(name=name, kind=a.kind, bytes=a.path.stat().st_size) for name, a in items.items()
        ]
        request = ArtifactRequest(job=job, runner=self._runner, items=infos)
        answer = await self._link.request(self._subject, codec.encode(request), timeout=PATIENCE)
        reply = codec.decode(answer.data, ArtifactReply)
        return [i for i in infos if i.name in reply.granted], reply.reason

    async def _put(self, info: ArtifactInfo, path: Path, wanted: Artifacts) -> None:
        """Raises `BrokerError` and `OSError`. What is half sent expires as the whole does."""
        ttl = max(1, round(wanted.ttl))
        nuid, sha, chunks, size = self._new_id(), hashlib.sha256(), 0, 0
        with path.open("rb") as file:
            for chunk in _chunks(file):
                await self._publish(chunk_subject(ARTIFACTS.name, nuid), chunk, {"Nats-TTL": f"{ttl}s"})
                sha.update(chunk)
                chunks += 1
                size += len(chunk)
        now = self._wall()
        meta = ObjectMeta(
            name=info.name,
            bucket=ARTIFACTS.name,
            nuid=nuid,
            size=size,
            chunks=chunks,
            mtime=datetime.fromtimestamp(now, UTC).isoformat(),
            digest=digest(sha.digest()),
            metadata={"kind": info.kind, "expires": f"{now + ttl:.0f}"},
            options={"max_chunk_size": CHUNK},
        )
        if self._named:
            await self._have_named(meta)
            return
        headers = {"Nats-TTL": f"{ttl}s"}
        await self._publish(meta_subject(ARTIFACTS.name, info.name), codec.encode(meta), headers)

    async def _have_named(self, meta: ObjectMeta) -> None:
        """Its chunks are in the store; only an orchestrator may say what they are."""
        job = ArtifactName.parse(meta.name).job
        request = ArtifactRequest(job=job, runner=self._runner, stored=meta)
        answer = await self._link.request(self._subject, codec.encode(request), timeout=PATIENCE)
        reply = codec.decode(answer.data, ArtifactReply)
        if meta.name not in reply.granted:
            raise BrokerError(f"the store of artifacts does not take it: {reply.reason or 'refused'}")

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        answer = await self._link.request(subject, data, timeout=PATIENCE, headers=headers)
        try:
            error = json.loads(answer.data).get("error")
        except (ValueError, AttributeError):
            raise BrokerUnavailable(f"{subject}: the answer is not a stream's") from None
        if error:
            kind = StreamFull if error.get("err_code") in _FULL else BrokerError
            raise kind(f"the store of artifacts does not take it: {error.get('description', 'refused')}")


def discard(artifacts: Sequence[Artifact]) -> None:
    """Remove the files, and the folders that are empty then."""
    for artifact in artifacts:
        with contextlib.suppress(OSError):
            artifact.path.unlink()
    for folder in {a.path.parent for a in artifacts}:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
