"""How a job stands, from all that is known of it. No I/O."""

from __future__ import annotations

import msgspec

from broker_config.job import Job
from broker_config.messages import JobProgress

from .progress import first_headline


def standing(job: Job, *heard: JobProgress | None) -> JobProgress:
    """The newest of the progress that was `heard`; one made from the job where there is none.

    Where the job has finished and what was heard does not say so yet, its end is put in under the old
    sequence number: the conductor's own last word still counts as newer.
    """
    known = [p for p in heard if p is not None and p.job == job.id]
    if not known:
        return first_headline(job)
    newest = max(known, key=lambda p: p.seq)
    if job.state != "finished" or newest.state == "finished":
        return newest
    counts = (
        job.counts if job.counts.planned else msgspec.structs.replace(newest.counts, running=0, dispatched=0)
    )
    return msgspec.structs.replace(
        newest,
        state=job.state,
        verdict=job.verdict,
        reason=job.reason,
        ended_at=job.ended_at,
        counts=counts,
        waiting_for=[],
        rate=0.0,
    )
