"""`tb jobs audit`: a job's records, as the broker holds them, against what is said of the job."""

from __future__ import annotations

from broker_config.messages import Counts, JobProgress
from broker_config.streams import PROGRESS
from broker_config.subjects import session_records_of
from orchestrator.core.audit import Audit, AuditReport, Claim

from .jet import Jet
from .job_store import JobStore

_PAGE = 500


class Auditor:
    def __init__(self, jet: Jet, store: JobStore) -> None:
        self._jet = jet
        self._store = store

    async def audit(self, job_id: str, claimed: JobProgress | Counts | None = None) -> AuditReport:
        """Audit a job against its checkpoint, or against what was `claimed` elsewhere (REST, a WebSocket).

        Records are read in pages; what is kept of each is its session, status and measures. A job that runs
        is audited up to its newest checkpoint. Raises `JobNotFound`, `BrokerUnavailable`.
        """
        job = await self._store.get(job_id)
        # After the document: of a job that is finished it is the last one.
        checkpoint = await self._store.checkpoint(job_id) if claimed is None else None
        counts = job.counts if job.state == "finished" else Counts(planned=job.spec.planned_sessions)
        claim: Claim = claimed or checkpoint or counts
        books = Audit(job.spec, job, claim)
        await self._look_for_expired(job.after_seq, books)
        subject = session_records_of(job_id)
        seq = 1
        while page := await self._jet.read(PROGRESS.name, subject, start=seq, limit=_PAGE):
            for stored in page:
                books.take(stored.seq, stored.subject, stored.data, stored.at)
            seq = page[-1].seq + 1
        return books.report()

    async def _look_for_expired(self, after: int, books: Audit) -> None:
        info = await self._jet.api(f"STREAM.INFO.{PROGRESS.name}")
        first = int(info["state"]["first_seq"])
        if first > after + 1:
            books.findings.add(
                "expired",
                f"the stream begins at {first} and the job after {after}: records that were kept for "
                f"{PROGRESS.max_age / 86_400:g} days are gone, so the job cannot be audited in full",
            )
