"""The job's headline, `JobProgress`, from the fold and what the conductor knows of the moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from broker_config.job import Cell, Job
from broker_config.messages import Counts, GroupSummary, JobProgress

from .fold import Fold, summary

#: Groups in the headline; all of them are in the checkpoint.
MAX_GROUPS = 20
RATE_WINDOW = 10.0


class Rate:
    """Sessions ended per second over the last 10 s, from samples of a growing total."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def at(self, now: float, ended: int) -> float:
        """Add the sample of this moment and return the rate."""
        if not self._samples or now - self._samples[-1][0] >= 0.2 or ended < self._samples[-1][1]:
            self._samples.append((now, ended))
        while len(self._samples) > 1 and self._samples[0][0] < now - RATE_WINDOW:
            self._samples.popleft()
        since, first = self._samples[0]
        return (ended - first) / (now - since) if now > since else 0.0


def counts(fold: Fold, *, running: int = 0, dispatched: int = 0) -> Counts:
    t = fold.total
    return Counts(
        planned=t.planned + (running + dispatched if fold.plan.open_ended else 0),
        ok=t.ok,
        failed=t.failed,
        cancelled=t.cancelled,
        lost=t.lost,
        dropped=t.dropped,
        running=running,
        dispatched=dispatched,
        superseded=fold.superseded,
        retried=t.retried,
        saturated=t.saturated,
        late=t.late,
    )


def headline(
    job: Job,
    fold: Fold,
    *,
    seq: int,
    at: float,
    rate: float = 0.0,
    running: int = 0,
    dispatched: int = 0,
    runners: int = 0,
    thresholds: Mapping[str, bool | None] | None = None,
) -> JobProgress:
    """What `job.progress.<job>` says now."""
    return JobProgress(
        job=job.id,
        seq=seq,
        at=at,
        state=job.state,
        counts=counts(fold, running=running, dispatched=dispatched),
        name=job.spec.name,
        verdict=job.verdict,
        reason=job.reason,
        waiting_for=job.waiting_for,
        rate=round(rate, 3),
        started_at=job.started_at,
        ended_at=job.ended_at,
        runners=runners,
        metrics={name: summary(s) for name, s in fold.total.metrics.items() if s.count},
        errors=dict(fold.errors),
        targets=_groups(fold.targets.items()),
        platforms=_groups(fold.platforms.items()),
        thresholds=dict(thresholds or {}),
        got={asked: dict(by_platform) for asked, by_platform in fold.got.items()},
    )


def first_headline(job: Job) -> JobProgress:
    """The headline of a job that no conductor has spoken of yet."""
    return JobProgress(
        job=job.id,
        seq=0,
        at=job.submitted_at,
        state=job.state,
        counts=job.counts if job.counts.planned else Counts(planned=job.spec.planned_sessions),
        name=job.spec.name,
        verdict=job.verdict,
        reason=job.reason,
        waiting_for=job.waiting_for,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


def _groups(cells: Iterable[tuple[str, Cell]]) -> dict[str, GroupSummary]:
    largest = sorted(cells, key=lambda kv: -kv[1].planned)[:MAX_GROUPS]
    return {name: _group(cell) for name, cell in largest}


def _group(cell: Cell) -> GroupSummary:
    load = cell.metrics.get("load")
    return GroupSummary(
        planned=cell.planned,
        ok=cell.ok,
        failed=cell.failed,
        load_p50=load.quantile(0.5) if load else None,
        load_p95=load.quantile(0.95) if load else None,
    )
