"""The report as data: from the job's document and its fold's checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker_config.job import Cell, Checkpoint, Job, StepCell, Timeline
from broker_config.job_spec import JobSpec
from broker_config.messages import Counts, Summary
from broker_config.report import (
    Report,
    ReportBin,
    ReportError,
    ReportGot,
    ReportGroup,
    ReportMoment,
    ReportStep,
    ReportThreshold,
)
from broker_config.sketch import GAMMA, LOWEST, Sketch
from broker_config.threshold import parse
from orchestrator.core.fold import summary
from orchestrator.core.measured import measure, show

from .shown_spec import shown_spec

#: The distribution has about so many bins.
BINS = 48
ALL = "all sessions"


def make_report(job: Job, checkpoint: Checkpoint | None, *, made_at: float, version: str = "") -> Report:
    """The report of a job as its checkpoint has it; of one that has none yet, that of an empty one."""
    cp = checkpoint or Checkpoint(job=job.id, total=Cell(planned=job.spec.planned_sessions))
    return Report(
        job=job.id,
        name=job.spec.name,
        state=job.state,
        verdict=job.verdict,
        reason=job.reason,
        ended_by=job.ended_by,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        made_at=made_at,
        version=version,
        retry_of=job.retry_of,
        counts=_counts(job, cp),
        total=_group(ALL, cp.total),
        calm=_summaries(cp.calm),
        targets=[_group(name, cell) for name, cell in cp.targets.items()],
        platforms=[_group(name, cell) for name, cell in cp.platforms.items()],
        got=[
            ReportGot(asked=asked, got=got, sessions=n)
            for asked, by_got in cp.got.items()
            for got, n in by_got.items()
        ],
        steps=_steps(job.spec, cp.steps),
        thresholds=thresholds(job, cp),
        errors=[
            ReportError(kind=kind, sessions=n, examples=cp.examples.get(kind, []))
            for kind, n in _largest_first(cp.errors)
        ],
        moment_s=cp.timeline.width_s,
        timeline=list(_moments(cp.timeline)),
        load_distribution=list(_bins(cp.total.metrics.get("load"))),
        refused=dict(_largest_first(cp.refused)),
        third_parties=dict(_largest_first(cp.third_parties)),
        upstreams=dict(_largest_first(cp.upstreams)),
        spec=shown_spec(job.spec),
    )


def thresholds(job: Job, checkpoint: Checkpoint) -> list[ReportThreshold]:
    """Each threshold of the job with its value so far."""
    out = []
    ended = False
    for rule in job.spec.rules:
        threshold = parse(rule.threshold)
        actual = measure(threshold, checkpoint)
        is_end = (
            job.ended_by == "threshold"
            and rule.abort_on_fail
            and not ended
            and f" {rule.threshold} does not hold" in job.reason
        )
        ended = ended or is_end
        out.append(
            ReportThreshold(
                threshold=rule.threshold,
                holds=None if actual is None else threshold.holds(actual),
                actual=actual,
                shown="nothing was measured" if actual is None else show(threshold, actual),
                abort_on_fail=rule.abort_on_fail,
                delay=float(rule.delay),
                window=None if rule.window is None else float(rule.window),
                ended_job=is_end,
            )
        )
    return out


def _counts(job: Job, cp: Checkpoint) -> Counts:
    if job.state == "finished":
        return job.counts
    return cp.progress.counts if cp.progress else Counts(planned=cp.total.planned)


def _group(name: str, cell: Cell) -> ReportGroup:
    ran = cell.ok + cell.failed + cell.lost
    return ReportGroup(
        name=name,
        planned=cell.planned,
        ok=cell.ok,
        failed=cell.failed,
        cancelled=cell.cancelled,
        lost=cell.lost,
        dropped=cell.dropped,
        retried=cell.retried,
        saturated=cell.saturated,
        faults=cell.faults,
        late=cell.late,
        error_rate=(cell.failed + cell.lost) / ran if ran else None,
        metrics=_summaries(cell.metrics),
    )


def _summaries(metrics: Mapping[str, Sketch]) -> dict[str, Summary]:
    return {name: summary(sketch) for name, sketch in metrics.items() if sketch.count}


def _steps(spec: JobSpec, cells: Mapping[str, StepCell]) -> list[ReportStep]:
    checks = {s.label[:64] for s in spec.journey.steps if s.expect is not None} if spec.journey else set()
    return [
        ReportStep(
            name=name,
            ok=cell.ok,
            failed=cell.failed,
            check=name in checks,
            time=summary(cell.time) if cell.time.count else None,
        )
        for name, cell in cells.items()
    ]


def _moments(timeline: Timeline) -> Iterable[ReportMoment]:
    for i, b in enumerate(timeline.buckets):
        yield ReportMoment(
            at=timeline.start + i * timeline.width_s,
            ok=b.ok,
            failed=b.failed,
            other=b.other,
            loads=b.load_count,
            load_mean=b.load_sum / b.load_count if b.load_count else None,
            load_max=b.load_max if b.load_count else None,
        )


def _bins(load: Sketch | None) -> Iterable[ReportBin]:
    """Neighbouring buckets of the sketch together, so that there are at most about `BINS`."""
    if load is None or not load.count:
        return
    # Loads of nothing at all would stretch the axis over seven powers of ten.
    indices = [i for i in load.buckets if i != LOWEST]
    if not indices:
        return
    low, high = min(indices), max(indices)
    together = (high - low) // BINS + 1
    for start in range(low, high + 1, together):
        yield ReportBin(
            above=GAMMA ** (start - 1),
            up_to=GAMMA ** (start + together - 1),
            count=sum(load.buckets.get(i, 0) for i in range(start, start + together)),
        )


def _largest_first(sums: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(sums.items(), key=lambda kv: -kv[1])
