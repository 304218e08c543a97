"""The ended sessions of a job, page by page, from the stream PROGRESS itself."""

from __future__ import annotations

from broker_config import codec
from broker_config.api import SessionPage, SessionRow
from broker_config.errors import MessageError, Problem, SpecError
from broker_config.messages import ConductorRecord, SessionRecord
from broker_config.streams import PROGRESS
from broker_config.subjects import CONDUCTOR, parse_session_record, session_records_of

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


def _rows(message: Stored, superseded: set[tuple[int, int]], *, late: bool) -> list[SessionRow]:
    try:
        if parse_session_record(message.subject)[1] == CONDUCTOR:
            owed = codec.decode(message.data, ConductorRecord)
            return [
                SessionRow(
                    session=session,
                    attempt=owed.attempt,
                    status=owed.status,
                    counted=not late and (message.seq, session) not in superseded,
                    seq=message.seq,
                    ended_at=owed.at,
                    error=owed.error,
                )
                for first, last in owed.sessions
                for session in range(first, last + 1)
            ]
        r = codec.decode(message.data, SessionRecord)
    except MessageError:
        return []
    return [
        SessionRow(
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
        )
    ]


def _read_cursor(cursor: str) -> tuple[int, int]:
    seq, _, after = cursor.partition(".")
    if not seq.isdigit() or not after.isdigit() or len(cursor) > 40:
        raise SpecError([Problem("cursor", f"{cursor!r} is not a cursor; use `next` of the page before")])
    return int(seq), int(after)
