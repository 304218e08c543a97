"""What was claimed of a job against the auditor's own books."""

from __future__ import annotations

from broker_config.job import MAX_TIME_BUCKETS, Cell, Checkpoint, Job, Timeline
from broker_config.messages import STATUSES, Counts, JobProgress

from .details import check_details
from .judgement import holds
from .metric import check_quantile, check_sketch, check_summary, close, compare
from .report import Findings
from .tally import Group, Tally

#: Classes of errors that are counted by name; the rest is one.
ERROR_KINDS = 100
_COUNTED = (*STATUSES, "planned", "retried", "saturated", "late")


def check_claim(
    claimed: Checkpoint | JobProgress | Counts, job: Job, tally: Tally, findings: Findings
) -> None:
    """Every number of the claim, and those that the job's document repeats."""
    finished = job.state == "finished"
    if not isinstance(claimed, Counts) and claimed.job != job.id:
        findings.add("claim", f"the claim is about job {claimed.job}, not {job.id}")
        return
    if finished:
        _check_final_counts(job.counts, tally, "the job's document", findings)
    if isinstance(claimed, Checkpoint):
        _Checkpoint(claimed, tally, findings).check()
        progress = claimed.progress
        if finished and (progress is None or progress.state != "finished"):
            findings.add("claim", "the job is finished, and the checkpoint's progress does not say so")
        elif progress is not None and finished:
            _check_progress(progress, job, tally, findings)
    elif isinstance(claimed, JobProgress):
        if finished and claimed.state == "finished":
            _check_progress(claimed, job, tally, findings)
        else:
            _check_counts_so_far(claimed.counts, tally, findings)
    elif finished:
        _check_final_counts(claimed, tally, "the claim", findings)
    else:
        _check_counts_so_far(claimed, tally, findings)


def _check_final_counts(counts: Counts, tally: Tally, where: str, findings: Findings) -> None:
    own = tally.counts()
    for name in _COUNTED:
        compare(getattr(counts, name), getattr(own, name), f"{where}: {name}", findings)
    for name in ("running", "dispatched"):
        compare(getattr(counts, name), 0, f"{where}: {name} after the end", findings)
    if counts.ended > len(tally.first):
        findings.add(
            "double-counted",
            f"{where}: {counts.ended} sessions ended, and {len(tally.first)} have a record",
        )
    # Attempts that end after the last session may or may not have been seen before the books were closed.
    if not tally.superseded_at_end <= counts.superseded <= tally.superseded + tally.late:
        findings.add(
            "superseded-count",
            f"{where}: {counts.superseded} superseded attempts; the stream has {tally.superseded}",
        )


def _check_counts_so_far(counts: Counts, tally: Tally, findings: Findings) -> None:
    """Of a job that runs: the records are newer than the claim, so no count may be above them."""
    own = tally.counts()
    if not tally.grows:
        compare(counts.planned, own.planned, "the claim: planned", findings)
    elif not counts.ended <= counts.planned <= tally.plan.size:
        findings.add(
            "totals",
            f"the claim: planned is {counts.planned}, {counts.ended} ended, {tally.plan.size} can be",
        )
    for name in (*STATUSES, "retried", "saturated", "superseded", "late"):
        claimed, derived = getattr(counts, name), getattr(own, name)
        if claimed > derived:
            findings.add(
                "totals", f"the claim: {name} is {claimed}, and the stream has only {derived} so far"
            )


class _Checkpoint:
    def __init__(self, checkpoint: Checkpoint, tally: Tally, findings: Findings) -> None:
        self._checkpoint = checkpoint
        self._tally = tally
        self._findings = findings

    def check(self) -> None:
        cp, tally = self._checkpoint, self._tally
        self._check_done(cp.done)
        self._check_cell(cp.total, tally.total, "all sessions")
        for what, cells, groups in (
            ("target", cp.targets, tally.targets),
            ("platform", cp.platforms, tally.platforms),
        ):
            if cells.keys() != groups.keys():
                self._findings.add("claim", f"{what}s {sorted(cells)}; the plan has {sorted(groups)}")
            for name in cells.keys() & groups.keys():
                self._check_cell(cells[name], groups[name], f"{what} {name}")
        if cp.superseded != tally.superseded:
            self._findings.add(
                "superseded-count",
                f"the checkpoint: {cp.superseded} superseded attempts; the stream has {tally.superseded}",
            )
        if cp.superseded_records != tally.superseded_records:
            odd = set(cp.superseded_records) ^ set(tally.superseded_records)
            words = f"such as {min(odd)}" if odd else "in their order or number"
            self._findings.add("superseded-count", f"the superseded sequences differ, {words}")
        _check_errors(cp.errors, tally, self._findings)
        check_details(cp, tally, self._findings)
        _check_got(cp.got, tally, self._findings)
        self._check_timeline(cp.timeline)

    def _check_done(self, done: bytes) -> None:
        size = self._tally.plan.size
        for session in range(1, max(size, 8 * len(done)) + 1):
            byte, bit = divmod(session - 1, 8)
            counted = byte < len(done) and done[byte] >> bit & 1
            ended = self._tally.first.get(session)
            if counted and ended is None:
                self._findings.add(
                    "double-counted", f"session {session} is counted and has no record", session=session
                )
            elif ended is not None and not counted:
                self._findings.add(
                    "not-counted",
                    f"session {session} has record {ended.seq} and is not counted",
                    session=session,
                    seq=ended.seq,
                )

    def _check_cell(self, cell: Cell, group: Group, where: str) -> None:
        for status in STATUSES:
            compare(getattr(cell, status), group.by_status[status], f"{where}: {status}", self._findings)
        for name in ("planned", "retried", "saturated", "faults", "late"):
            compare(getattr(cell, name), getattr(group, name), f"{where}: {name}", self._findings)
        ended = sum(getattr(cell, status) for status in STATUSES)
        if ended > sum(group.by_status.values()):
            self._findings.add(
                "double-counted", f"{where}: {ended} ended, {sum(group.by_status.values())} have a record"
            )
        for metric in cell.metrics.keys() | group.values.keys():
            check_sketch(cell.metrics.get(metric), group.sorted(metric), f"{where}: {metric}", self._findings)

    def _check_timeline(self, t: Timeline) -> None:
        first = [e for e in self._tally.first.values() if e.status != "unused"]
        rows: dict[int, list[float]] = {}
        start = float(int(first[0].at)) if first else 0.0
        width = t.width_s if t.width_s > 0 else 1.0
        for ended in first:
            index = int(min(max(0.0, (ended.at - start) / width), 1e15))
            row = rows.setdefault(index, [0, 0, 0, 0, 0.0, 0.0])
            row[0 if ended.status == "ok" else 1 if ended.status == "failed" else 2] += 1
            if ended.load is not None:
                row[3] += 1
                row[4] += ended.load
                row[5] = max(row[5], ended.load)
        if t.start != start or t.width_s <= 0 or len(t.buckets) > MAX_TIME_BUCKETS:
            words = f"starts at {t.start:g} with {len(t.buckets)} buckets of {t.width_s:g} s"
            self._findings.add("timeline", f"it {words}; the first session ended at {start:g}")
            return
        for index in sorted({*range(len(t.buckets)), *rows}):
            own = rows.get(index, [0, 0, 0, 0, 0.0, 0.0])
            b = t.buckets[index] if index < len(t.buckets) else None
            said = [b.ok, b.failed, b.other, b.load_count, b.load_sum, b.load_max] if b else [0] * 6
            if not all(map(close, said, own)):
                self._findings.add("timeline", f"bucket {index} says {said}; the records have {own}")
                return


def _check_progress(progress: JobProgress, job: Job, tally: Tally, findings: Findings) -> None:
    """The last progress of a finished job."""
    _check_final_counts(progress.counts, tally, "the progress", findings)
    if (progress.state, progress.verdict, progress.reason) != (job.state, job.verdict, job.reason):
        findings.add(
            "verdict",
            f"the progress says {progress.verdict} ({progress.reason}), the job {job.verdict} ({job.reason})",
        )
    for metric in progress.metrics.keys() | tally.total.values.keys():
        check_summary(
            progress.metrics.get(metric), tally.total.sorted(metric), f"the progress: {metric}", findings
        )
    for what, said, groups in (
        ("target", progress.targets, tally.targets),
        ("platform", progress.platforms, tally.platforms),
    ):
        for name, row in said.items():
            group = groups.get(name)
            if group is None:
                findings.add("claim", f"the progress: there is no {what} {name}")
                continue
            where = f"the progress: {what} {name}"
            compare(row.planned, group.planned, f"{where}: planned", findings)
            compare(row.ok, group.by_status["ok"], f"{where}: ok", findings)
            compare(row.failed, group.by_status["failed"], f"{where}: failed", findings)
            own = group.sorted("load")
            for claimed, q in ((row.load_p50, 0.5), (row.load_p95, 0.95)):
                if (claimed is None) != (not own):
                    findings.add("metric", f"{where}: load is {claimed}; the records have {len(own)} values")
                elif claimed is not None:
                    check_quantile(claimed, own, q, f"{where}: load at {q:g}", findings)
    _check_errors(progress.errors, tally, findings)
    _check_got(progress.got, tally, findings)
    for text in job.spec.expressions:
        own_answer = holds(text, tally)
        if text not in progress.thresholds:
            findings.add("thresholds", f"the progress does not say whether {text} holds")
        elif own_answer != "unsure" and progress.thresholds[text] is not own_answer:
            findings.add(
                "thresholds",
                f"{text}: the progress says {progress.thresholds[text]}, the records {own_answer}",
            )


def _check_got(said: dict[str, dict[str, int]], tally: Tally, findings: Findings) -> None:
    own = {asked: dict(got) for asked, got in tally.got.items()}
    if said != own:
        findings.add("totals", f"platforms that sessions got: {said} claimed, {own} in the records")


def _check_errors(said: dict[str, int], tally: Tally, findings: Findings) -> None:
    own = tally.errors
    if sum(said.values()) != own.total() or (len(own) <= ERROR_KINDS and said != dict(own)):
        odd = {k: (said.get(k, 0), own[k]) for k in said.keys() | own.keys() if said.get(k, 0) != own[k]}
        words = ", ".join(f"{k}: {a} claimed, {b} in the records" for k, (a, b) in sorted(odd.items())[:5])
        findings.add("errors", words or "their sum differs")
