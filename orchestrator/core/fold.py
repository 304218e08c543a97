"""The fold: terminal records in stream order become a job's aggregate.

The first terminal record of a session counts; every later one is a superseded attempt, reported and never
counted. The state has constant size whatever the number of sessions, but for one bit each.
"""

from __future__ import annotations

import msgspec

from broker_config.job import MAX_TIME_BUCKETS, Cell, Checkpoint, StepCell, TimeBucket, Timeline
from broker_config.messages import (
    ConductorRecord,
    ErrorInfo,
    SessionRecord,
    SessionStatus,
    StepRecord,
    Summary,
)
from broker_config.sketch import Sketch, bucket
from broker_config.threshold import parse as parse_threshold

from .bitmap import Bitmap
from .plan import Plan

#: Metrics of `Measures` that are summarised, and the session's own duration.
METRICS = (
    "ttfb",
    "dcl",
    "load",
    "fcp",
    "lcp",
    "cls",
    "inp",
    "bytes",
    "requests",
    "failed_requests",
    "console_errors",
)
DURATION = "duration"
#: Groups beyond this many targets share one cell, so that the checkpoint stays small.
MAX_TARGET_CELLS = 50
OTHER_TARGETS = "(other targets)"
MAX_ERROR_KINDS = 100
MAX_SUPERSEDED_RECORDS = 1_000
#: Steps beyond so many names are not summarised.
MAX_STEP_NAMES = 50


class Fold:
    """The state of one job's fold. `apply` takes each record once, in stream order."""

    def __init__(self, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        self.plan = plan
        cp = checkpoint or Checkpoint(job=plan.job)
        #: Targets that a threshold names have a cell of their own, however many targets there are.
        self._judged = {t.value for t in map(parse_threshold, plan.spec.expressions) if t.group == "target"}
        self.seq = cp.seq
        self.done = Bitmap(plan.size, cp.done)
        self.total = cp.total
        self.targets = cp.targets
        self.platforms = cp.platforms
        self.timeline = cp.timeline
        self.errors = cp.errors
        self.steps = cp.steps
        self.superseded = cp.superseded
        self.superseded_records = cp.superseded_records
        #: Records that name a session outside the plan: counted here and nowhere else.
        self.foreign = 0
        if not self.total.planned:
            self._lay_out()

    def _lay_out(self) -> None:
        self.total.planned = self.plan.size
        for i, (label, n) in enumerate(self.plan.planned_by_target().items()):
            key = label if i < MAX_TARGET_CELLS or label in self._judged else OTHER_TARGETS
            self.targets.setdefault(key, Cell()).planned += n
        for platform, n in self.plan.planned_by_platform().items():
            self.platforms[platform] = Cell(planned=n)

    @property
    def finished(self) -> bool:
        """True when every planned session has its counted record."""
        return self.done.count == self.plan.size

    def apply(self, seq: int, record: SessionRecord | ConductorRecord, at: float | None = None) -> list[int]:
        """Fold the record at stream sequence `seq`; the sessions that it counted for (none if superseded).

        Records at or before `self.seq` are ignored: replaying is harmless. `at` is when the stream stored it:
        the timeline goes by the broker's one clock, since a runner's may be wrong by years.
        """
        if seq <= self.seq:
            return []
        self.seq = seq
        if isinstance(record, SessionRecord):
            return [record.session] if self._session(seq, record, at or record.ended_at) else []
        return self._conductor(seq, record, at or record.at)

    def _session(self, seq: int, r: SessionRecord, at: float) -> bool:
        if not self._take(seq, r.session):
            return False
        cells = self._cells(r.session)
        for cell in cells:
            _count(cell, r.status)
            if r.attempt > 1:
                cell.retried += 1
            if r.saturated:
                cell.saturated += 1
            if r.status == "failed" and r.error and r.error.infrastructure:
                cell.faults += 1
        if r.status in ("ok", "failed"):
            for name in METRICS:
                value = getattr(r.measures, name)
                if value is not None:
                    _measure(cells, name, float(value))
            if r.duration_ms:
                _measure(cells, DURATION, r.duration_ms)
            for step in r.steps:
                self._step(step)
        self._error(r.error)
        self._time(at, r.status, r.measures.load)
        return True

    def _conductor(self, seq: int, r: ConductorRecord, at: float) -> list[int]:
        counted = []
        for first, last in r.sessions:
            for session in range(max(first, 1), min(last, self.plan.size) + 1):
                if self._take(seq, session):
                    counted.append(session)
                    for cell in self._cells(session):
                        _count(cell, r.status)
                    self._error(r.error)
                    self._time(at, r.status, None)
        return counted

    def _take(self, seq: int, session: int) -> bool:
        try:
            first = self.done.add(session)
        except IndexError:
            self.foreign += 1
            return False
        if not first:
            self.superseded += 1
            self.superseded_records.append((seq, session))
            del self.superseded_records[:-MAX_SUPERSEDED_RECORDS]
        return first

    def _cells(self, session: int) -> tuple[Cell, Cell, Cell]:
        # By the plan, not by the record: a record cannot move a session into another group.
        index = self.plan.target(session)
        label = self.plan.spec.targets[index].label
        if index >= MAX_TARGET_CELLS and label not in self._judged:
            label = OTHER_TARGETS
        return self.total, self.targets[label], self.platforms[self.plan.platform(session)]

    def _step(self, step: StepRecord) -> None:
        name = step.name[:64]
        cell = self.steps.get(name)
        if cell is None:
            if len(self.steps) >= MAX_STEP_NAMES:
                return
            cell = self.steps[name] = StepCell()
        if step.ok:
            cell.ok += 1
            cell.time.add(step.ms)
        else:
            cell.failed += 1

    def _error(self, error: ErrorInfo | None) -> None:
        if error is not None:
            kind = error.kind[:64]
            if kind not in self.errors and len(self.errors) >= MAX_ERROR_KINDS:
                kind = "other"
            self.errors[kind] = self.errors.get(kind, 0) + 1

    def _time(self, at: float, status: SessionStatus, load: float | None) -> None:
        t = self.timeline
        if not t.buckets:
            t.start = float(int(at))
        while (index := int((at - t.start) / t.width_s)) >= MAX_TIME_BUCKETS:
            _widen(t)
        index = max(index, 0)
        while len(t.buckets) <= index:
            t.buckets.append(TimeBucket())
        b = t.buckets[index]
        if status == "ok":
            b.ok += 1
        elif status == "failed":
            b.failed += 1
        else:
            b.other += 1
        if load is not None:
            b.load_count += 1
            b.load_sum += load
            b.load_max = max(b.load_max, load)

    def checkpoint(self, progress_seq: int) -> Checkpoint:
        """The state as a document. It shares structure with the fold: encode it before the next `apply`."""
        return Checkpoint(
            job=self.plan.job,
            seq=self.seq,
            progress_seq=progress_seq,
            done=bytes(self.done),
            total=self.total,
            targets=self.targets,
            platforms=self.platforms,
            timeline=self.timeline,
            errors=self.errors,
            steps=self.steps,
            superseded=self.superseded,
            superseded_records=self.superseded_records,
        )


def summary(sketch: Sketch) -> Summary:
    """Count, exact min, max, mean, and the usual quantiles. The sketch must not be empty."""
    p50, p75, p90, p95, p99 = (sketch.quantile(q) or 0.0 for q in (0.5, 0.75, 0.9, 0.95, 0.99))
    return Summary(
        count=sketch.count,
        min=sketch.min,
        max=sketch.max,
        mean=sketch.mean or 0.0,
        p50=p50,
        p75=p75,
        p90=p90,
        p95=p95,
        p99=p99,
    )


def _count(cell: Cell, status: SessionStatus) -> None:
    setattr(cell, status, getattr(cell, status) + 1)


def _measure(cells: tuple[Cell, ...], name: str, value: float) -> None:
    index = bucket(value)
    for cell in cells:
        sketch = cell.metrics.get(name)
        if sketch is None:
            sketch = cell.metrics[name] = Sketch()
        sketch.add(value, index)


def _widen(t: Timeline) -> None:
    old = t.buckets
    t.width_s *= 2
    t.buckets = [_merged(old[i : i + 2]) for i in range(0, len(old), 2)]


def _merged(pair: list[TimeBucket]) -> TimeBucket:
    a = msgspec.structs.replace(pair[0])
    for b in pair[1:]:
        a.ok += b.ok
        a.failed += b.failed
        a.other += b.other
        a.load_count += b.load_count
        a.load_sum += b.load_sum
        a.load_max = max(a.load_max, b.load_max)
    return a
