"""The fold: terminal records in stream order become a job's aggregate.

The first terminal record of a session counts; every later one is a superseded attempt, reported and never
counted. The state has constant size whatever the number of sessions, but for one bit each.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from broker_config.job import (
    MAX_TIME_BUCKETS,
    Cell,
    Checkpoint,
    ErrorExample,
    StepCell,
    TimeBucket,
    Timeline,
)
from broker_config.load import LATE_MS
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
from .sliding import Sliding

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
#: How much too late sessions of an open model started.
START_ERROR = "start_error"
#: Groups beyond this many targets share one cell, so that the checkpoint stays small.
MAX_TARGET_CELLS = 50
OTHER_TARGETS = "(other targets)"
MAX_ERROR_KINDS = 100
MAX_SUPERSEDED_RECORDS = 1_000
#: Steps beyond so many names are not summarised.
MAX_STEP_NAMES = 50
#: Origins and proxies beyond so many are one.
MAX_NAMES = 50
OTHERS = "(others)"
#: Kinds of errors that have examples, examples of each, and characters of their detail.
MAX_EXAMPLE_KINDS = 30
MAX_EXAMPLES = 3
MAX_DETAIL = 200


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
        self.calm = cp.calm
        self.examples = cp.examples
        self.refused = cp.refused
        self.third_parties = cp.third_parties
        self.upstreams = cp.upstreams
        self.got = cp.got
        #: Told of each counted session; not part of the checkpoint.
        self.windows: list[Sliding] = []
        #: The latest time at which the stream stored a record.
        self.newest = 0.0
        #: Records that name a session outside the plan: counted here and nowhere else.
        self.foreign = 0
        if not self.total.planned:
            self._lay_out()

    def _lay_out(self) -> None:
        # Where the number of sessions is known at the end only, each counts as planned when it has ended.
        known = not self.plan.open_ended
        self.total.planned = self.plan.size if known else 0
        for i, (label, n) in enumerate(self.plan.planned_by_target().items()):
            key = label if i < MAX_TARGET_CELLS or label in self._judged else OTHER_TARGETS
            self.targets.setdefault(key, Cell()).planned += n if known else 0
        for platform, n in self.plan.planned_by_platform().items():
            self.platforms[platform] = Cell(planned=n if known else 0)

    @property
    def ended(self) -> int:
        """Sessions that have ended, without numbers that were never used."""
        t = self.total
        return t.ok + t.failed + t.cancelled + t.lost + t.dropped

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
        self.newest = max(self.newest, at or 0.0)
        if isinstance(record, SessionRecord):
            return [record.session] if self._session(seq, record, at or record.ended_at) else []
        return self._conductor(seq, record, at or record.at)

    def _session(self, seq: int, r: SessionRecord, at: float) -> bool:
        if not self._take(seq, r.session):
            return False
        cells = self._cells(r.session)
        if r.saturated and not self.total.saturated:
            self.calm = {name: _copy(sketch) for name, sketch in self.total.metrics.items()}
        for cell in cells:
            self._count(cell, r.status)
            if r.start_error_ms is not None and r.start_error_ms > LATE_MS:
                cell.late += 1
            if r.attempt > 1:
                cell.retried += 1
            if r.saturated:
                cell.saturated += 1
            if r.status == "failed" and r.error and r.error.infrastructure:
                cell.faults += 1
        if r.status in ("ok", "failed"):
            self._got(r)
            books = [cell.metrics for cell in cells]
            if self.total.saturated and not r.saturated:
                books.append(self.calm)
            for name in METRICS:
                value = getattr(r.measures, name)
                if value is not None:
                    _measure(books, name, float(value))
            if r.duration_ms:
                _measure(books, DURATION, r.duration_ms)
            if r.start_error_ms is not None:
                _measure(books, START_ERROR, r.start_error_ms)
            for step in r.steps:
                self._step(step)
        _add_all(self.refused, r.refused)
        _add_all(self.third_parties, r.third_parties)
        _add_all(self.upstreams, dict.fromkeys(r.upstreams, 1))
        if r.error is not None:
            self._error(r.error, r.session, r)
        self._time(at, r.status, r.measures.load)
        for window in self.windows:
            window.add(at, r.status, *self._groups(r.session), r)
        return True

    def _conductor(self, seq: int, r: ConductorRecord, at: float) -> list[int]:
        counted = []
        for first, last in r.sessions:
            for session in range(max(first, 1), min(last, self.plan.size) + 1):
                if self._take(seq, session):
                    counted.append(session)
                    if r.status == "unused":
                        continue
                    for cell in self._cells(session):
                        self._count(cell, r.status)
                    if r.error is not None:
                        self._error(r.error, session)
                    self._time(at, r.status, None)
                    for window in self.windows:
                        window.add(at, r.status, *self._groups(session), None)
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

    def _count(self, cell: Cell, status: SessionStatus) -> None:
        setattr(cell, status, getattr(cell, status) + 1)
        if self.plan.open_ended:
            cell.planned += 1

    def _got(self, r: SessionRecord) -> None:
        # A record cannot make up a platform: it must be one that the session could get.
        asked = self.plan.platform(r.session)
        if r.platform in self.plan.chain(asked):
            by_platform = self.got.setdefault(asked, {})
            by_platform[r.platform] = by_platform.get(r.platform, 0) + 1

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

    def _groups(self, session: int) -> tuple[str, str]:
        return self.plan.spec.targets[self.plan.target(session)].label, self.plan.platform(session)

    def _error(self, error: ErrorInfo, session: int, r: SessionRecord | None = None) -> None:
        kind = error.kind[:64]
        if kind not in self.errors and len(self.errors) >= MAX_ERROR_KINDS:
            kind = "other"
        self.errors[kind] = self.errors.get(kind, 0) + 1
        if kind not in self.examples and len(self.examples) >= MAX_EXAMPLE_KINDS:
            return
        examples = self.examples.setdefault(kind, [])
        if len(examples) < MAX_EXAMPLES:
            target, platform = self._groups(session)
            detail = error.detail[:MAX_DETAIL]
            examples.append(ErrorExample(session, target, platform, r.runner[:64] if r else "", detail))

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
            calm=self.calm,
            examples=self.examples,
            refused=self.refused,
            third_parties=self.third_parties,
            upstreams=self.upstreams,
            got=self.got,
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


def _measure(books: list[dict[str, Sketch]], name: str, value: float) -> None:
    index = bucket(value)
    for book in books:
        sketch = book.get(name)
        if sketch is None:
            sketch = book[name] = Sketch()
        sketch.add(value, index)


def _copy(sketch: Sketch) -> Sketch:
    return msgspec.structs.replace(sketch, buckets=dict(sketch.buckets))


def _add_all(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for name, n in more.items():
        key = name[:200]
        if key not in sums and len(sums) >= MAX_NAMES:
            key = OTHERS
        sums[key] = sums.get(key, 0) + n


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
