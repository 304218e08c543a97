"""The ended sessions of a job, page by page, from the stream PROGRESS itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec

from broker_config import codec
from broker_config.api import SessionPage, SessionRow
from broker_config.errors import MessageError, Problem, SpecError
from broker_config.messages import PROTOCOL, PROTOCOL_OLDEST, ConductorRecord, SessionRecord
from broker_config.streams import PROGRESS
from broker_config.subjects import CONDUCTOR, parse_session_record, session_records_of
from orchestrator.core.bitmap import Bitmap
from orchestrator.core.plan import Plan

from .jet import Jet, Stored
from .job_store import JobStore

_PAGE = 500


class SessionLog:
    def __init__(self, jet: Jet, store: JobStore) -> None:
        self._jet = jet
        self._store = store

    async def page(self, job: str, *, cursor: str | None, limit: int, status: str | None) -> SessionPage:
        """Records in stream order, as far as the fold was last checkpointed, about a second ago: it says
        which of them count. What comes after the end of the job is late and never counts.

        `cursor` is `<sequence>`, or `<sequence>.<session>` within a record of the conductor. Raises
        `JobNotFound`, and `SpecError` for a cursor that is none.
        """
        document = await self._store.get(job)
        seq, after = _read_cursor(cursor) if cursor else (document.after_seq + 1, 0)
        checkpoint = await self._store.checkpoint(job)
        if checkpoint is None:
            return SessionPage(items=[], next=None)
        superseded = set(checkpoint.superseded_records)
        over = document.state == "finished"
        rows: list[SessionRow] = []
        while True:
            stored = await self._jet.read(PROGRESS.name, session_records_of(job), start=seq, limit=_PAGE)
            for message in stored:
                late = message.seq > checkpoint.seq
                if late and not over:
                    return SessionPage(items=rows, next=None)
                for row in _rows(message, superseded, late=late):
                    if message.seq == seq and row.session <= after:
                        continue
                    if status in (None, row.status):
                        if len(rows) == limit:
                            last = rows[-1]
                            return SessionPage(items=rows, next=f"{last.seq}.{last.session}")
                        rows.append(row)
            if len(stored) < _PAGE:
                return SessionPage(items=rows, next=None)
            seq, after = stored[-1].seq + 1, 0

    async def counted(self, job: str) -> AsyncIterator[list[SessionRow]]:
        """The counted record of each session that has one, as far as the fold was last checkpointed: in
        stream order, some hundreds at a time. Those of the conductor have target and platform of the plan.
        Raises `JobNotFound`, `BrokerUnavailable`.
        """
        document = await self._store.get(job)
        checkpoint = await self._store.checkpoint(job)
        if checkpoint is None:
            return
        plan = await asyncio.to_thread(Plan, job, document.spec)
        done = Bitmap(plan.size)
        seq = document.after_seq + 1
        while stored := await self._jet.read(PROGRESS.name, session_records_of(job), start=seq, limit=_PAGE):
            rows: list[SessionRow] = []
            for message in stored:
                if message.seq > checkpoint.seq:
                    break
                for session in _unused(message):
                    if 1 <= session <= plan.size:
                        done.add(session)
                for row in _rows(message, set(), late=False):
                    # As the fold does: the first record of each session of the plan.
                    if not 1 <= row.session <= plan.size or not done.add(row.session):
                        continue
                    rows.append(row if row.runner else _planned(row, plan))
                    if len(rows) == _PAGE:
                        yield rows
                        rows = []
            if rows:
                yield rows
            seq = stored[-1].seq + 1
            if seq > checkpoint.seq or len(stored) < _PAGE:
                return


def _planned(row: SessionRow, plan: Plan) -> SessionRow:
    target = plan.spec.targets[plan.target(row.session)].label
    return msgspec.structs.replace(row, target=target, asked=plan.platform(row.session))


def _unused(message: Stored) -> Iterator[int]:
    """Numbers under which nothing was planned: a runner's record of one that comes after does not count."""
    if parse_session_record(message.subject)[1] != CONDUCTOR:
        return
    try:
        owed = codec.decode(message.data, ConductorRecord)
    except MessageError:
        return
    if owed.status == "unused":
        for first, last in owed.sessions:
            yield from range(first, last + 1)


def _rows(message: Stored, superseded: set[tuple[int, int]], *, late: bool) -> Iterator[SessionRow]:
    job, writer = parse_session_record(message.subject)
    try:
        if writer == CONDUCTOR:
            owed = codec.decode(message.data, ConductorRecord)
            if owed.status == "unused":
                return
            for first, last in owed.sessions:
                for session in range(first, last + 1):
                    yield SessionRow(
                        session=session,
                        attempt=owed.attempt,
                        status=owed.status,
                        counted=not late and (message.seq, session) not in superseded,
                        seq=message.seq,
                        ended_at=owed.at,
                        error=owed.error,
                    )
            return
        r = codec.decode(message.data, SessionRecord)
    except MessageError:
        return
    if (r.job, r.runner) != (job, writer) or not PROTOCOL_OLDEST <= r.protocol <= PROTOCOL:
        return
    yield SessionRow(
        session=r.session,
        attempt=r.attempt,
        status=r.status,
        counted=not late and (message.seq, r.session) not in superseded,
        seq=message.seq,
        target=r.target,
        platform=r.platform,
        asked=r.asked,
        runner=r.runner,
        started_at=r.started_at,
        ended_at=r.ended_at,
        duration_ms=r.duration_ms,
        saturated=r.saturated,
        error=r.error,
        measures=r.measures,
        start_error_ms=r.start_error_ms,
        upstreams=r.upstreams,
    )


def _read_cursor(cursor: str) -> tuple[int, int]:
    seq, _, after = cursor.partition(".")
    if not seq.isdigit() or not after.isdigit() or len(cursor) > 40:
        raise SpecError([Problem("cursor", f"{cursor!r} is not a cursor; use `next` of the page before")])
    return int(seq), int(after)
