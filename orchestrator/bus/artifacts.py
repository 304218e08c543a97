"""The stored artifacts of jobs: listed, and read chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from broker_config import codec
from broker_config.api import ArtifactPage, ArtifactView
from broker_config.artifacts import ArtifactName
from broker_config.errors import ArtifactNotFound, MessageError, Problem, SpecError
from broker_config.job import Job
from broker_config.object_store import (
    ObjectMeta,
    chunk_subject,
    meta_subject,
    meta_subjects,
    name_of,
    stream_name,
)
from broker_config.streams import ARTIFACTS

from .jet import Jet

STREAM = stream_name(ARTIFACTS.name)
#: Chunks that are read at once: about a megabyte.
_AT_ONCE = 8


class Artifacts:
    """Every call may raise `BrokerUnavailable`. `job` gives a job's document, or raises `JobNotFound`."""

    def __init__(self, jet: Jet, job: Callable[[str], Awaitable[Job]]) -> None:
        self._jet = jet
        self._job = job

    async def page(
        self, job: str, *, cursor: str | None, limit: int, session: int | None = None
    ) -> ArtifactPage:
        """Of a job, or of one session of it, in the order of sessions, attempts and names. `cursor` is the
        name that the page before ended with. Raises `JobNotFound`, and `SpecError` for a cursor that is none.
        """
        document = await self._job(job)
        after = _read_cursor(cursor) if cursor else None
        names = []
        for subject in await self._jet.subjects(STREAM, meta_subjects(ARTIFACTS.name)):
            try:
                name = ArtifactName.parse(name_of(subject) or "")
            except ValueError:
                continue  # somebody else's
            if name.job == document.id and session in (None, name.session):
                names.append(name)
        names = sorted(n for n in names if after is None or n > after)
        found = await asyncio.gather(*(self._view(n) for n in names[:limit]))
        more = str(names[limit - 1]) if len(names) > limit else None
        return ArtifactPage(items=[v for v in found if v is not None], next=more)

    async def get(self, name: str) -> tuple[ArtifactView, AsyncIterator[bytes]]:
        """What it is, and its content. Raises `ArtifactNotFound`; the content raises it, too, where the
        artifact is removed while it is read."""
        try:
            parsed = ArtifactName.parse(name)
        except ValueError as e:
            raise ArtifactNotFound(str(e)) from None
        meta = await self._meta(parsed)
        if meta is None:
            raise ArtifactNotFound.of(name)
        return _as_view(parsed, meta), self._content(meta)

    async def _content(self, meta: ObjectMeta) -> AsyncIterator[bytes]:
        subject, start, left = chunk_subject(ARTIFACTS.name, meta.nuid), 1, meta.chunks
        while left:
            chunks = await self._jet.read(STREAM, subject, start=start, limit=min(_AT_ONCE, left))
            if not chunks:
                raise ArtifactNotFound(f"{meta.name} was removed while it was read")
            for chunk in chunks:
                yield chunk.data
            start, left = chunks[-1].seq + 1, left - len(chunks)

    async def _view(self, name: ArtifactName) -> ArtifactView | None:
        meta = await self._meta(name)
        return _as_view(name, meta) if meta else None

    async def _meta(self, name: ArtifactName) -> ObjectMeta | None:
        entry = await self._jet.get(STREAM, meta_subject(ARTIFACTS.name, str(name)))
        if entry is None or not entry.value:
            return None
        try:
            meta = codec.decode(entry.value, ObjectMeta)
        except MessageError:
            return None
        return None if meta.deleted else meta


def _as_view(name: ArtifactName, meta: ObjectMeta) -> ArtifactView:
    expires = meta.metadata.get("expires", "")
    return ArtifactView(
        name=str(name),
        session=name.session,
        attempt=name.attempt,
        file=name.file,
        kind=meta.metadata.get("kind", ""),
        bytes=meta.size,
        expires_at=float(expires) if expires.isdecimal() else None,
    )


def _read_cursor(cursor: str) -> ArtifactName:
    try:
        return ArtifactName.parse(cursor)
    except ValueError:
        raise SpecError(
            [Problem("cursor", f"{cursor!r} is not a cursor; use `next` of the page before")]
        ) from None
