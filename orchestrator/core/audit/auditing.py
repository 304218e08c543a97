"""The audit itself: records one by one, then the whole, then what was claimed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from broker_config.errors import MessageError, NameRefused
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec
from broker_config.load import ConstantArrivalRate, ConstantVus, RampingArrivalRate, RampingVus
from broker_config.messages import STATUSES, Counts, JobProgress
from broker_config.streams import MAX_DELIVER
from broker_config.subjects import CONDUCTOR, parse_session_record
from orchestrator.core.plan import Plan

from .claim import check_claim
from .early_end import EarlyEnd
from .judgement import check_verdict
from .raw_record import OwedEnd, RunnerEnd, read_owed_end, read_runner_end
from .report import AuditReport, Findings
from .tally import Ended, Tally

#: What may be claimed: the checkpoint of the fold, the progress that clients see, or bare counts.
Claim = Checkpoint | JobProgress | Counts

RUNNER_STATUSES = ("ok", "failed", "cancelled", "dropped")
CONDUCTOR_STATUSES = ("failed", "cancelled", "lost", "dropped", "unused")
#: Numbers that were never needed, of loads that know the number of their sessions only at the end.
UNUSED = "unused"
#: A message is delivered `MAX_DELIVER` times; one that is sent again counts on from there, once.
MAX_ATTEMPT = 2 * MAX_DELIVER - 1
#: Larger values cannot have been measured; 1e12 ms are 31 years.
MAX_VALUE = 1e12
#: Seconds since 1970 beyond which no clock is right; the year 5138.
MAX_TIME = 1e11


def audit(
    spec: JobSpec, stored_job: Job, records: Iterable[tuple[int, str, bytes]], claimed: Claim
) -> AuditReport:
    """Audit a job: `records` are its `(sequence, subject, data)` of the stream PROGRESS, as stored.

    A checkpoint is checked as of its own sequence. Other claims are checked in full where the job is
    finished; while it runs, the records must have been read after the claim was made.
    """
    books = Audit(spec, stored_job, claimed)
    for seq, subject, data in records:
        books.take(seq, subject, data)
    return books.report()


class Audit:
    """An audit that is given the records one by one, in stream order."""

    def __init__(self, spec: JobSpec, stored_job: Job, claimed: Claim) -> None:
        self.findings = Findings()
        self._job = stored_job
        self._claimed = claimed
        self._tally = Tally(Plan(stored_job.id, spec))
        if stored_job.ended_by == "threshold":
            self._tally.early = [
                EarlyEnd(r) for r in spec.rules if r.abort_on_fail and r.threshold in stored_job.reason
            ]
        self._records = 0
        self._seq = 0
        #: Records after this sequence came after the claim was made.
        self._until = claimed.seq if isinstance(claimed, Checkpoint) else None
        self._saw_until = self._until == stored_job.after_seq
        self._at: float | None = None

    def take(self, seq: int, subject: str, data: bytes, at: float | None = None) -> None:
        """Enter one record; `at` is when the stream stored it, seconds since 1970."""
        self._at = at
        self._records += 1
        self._saw_until |= seq == self._until
        if seq <= self._seq:
            self.findings.add("order", f"sequence {seq} comes after {self._seq}", seq=seq)
        elif seq <= self._job.after_seq:
            self.findings.add(
                "order",
                f"sequence {seq} is older than the job, which begins after {self._job.after_seq}",
                seq=seq,
            )
        self._seq = max(self._seq, seq)
        try:
            job, writer = parse_session_record(subject)
        except NameRefused as e:
            self.findings.add("subject", str(e), seq=seq)
            return
        if job != self._job.id:
            self.findings.add("subject", f"{subject} is not of job {self._job.id}", seq=seq)
            return
        try:
            if writer == CONDUCTOR:
                self._owed(seq, read_owed_end(data))
            else:
                self._runner(seq, writer, read_runner_end(data))
        except MessageError as e:
            self.findings.add("unreadable", f"the record on {subject} does not count: {e}", seq=seq)

    def _runner(self, seq: int, writer: str, end: RunnerEnd) -> None:
        if not self._own_job(seq, end.job):
            return
        if end.runner != writer:
            self.findings.add(
                "forged-runner",
                f"a record that {writer} wrote names runner {end.runner}",
                session=end.session,
                seq=seq,
            )
            return
        if not 1 <= end.session <= self._tally.plan.size:
            self._outside(seq, end.session)
            return
        if end.status not in STATUSES:
            self._wrong_status(seq, end.session, end.status, writer)
            return
        self._check_runner(seq, writer, end)
        ended = Ended(seq, end.status, self._at or end.ended_at, end.values.get("load"))
        if self._is_first(seq, end.session, end.attempt, end.status, writer):
            self._tally.count(end.session, ended, end, error=end.error, detail=end.detail)

    def _check_runner(self, seq: int, writer: str, end: RunnerEnd) -> None:
        session = end.session
        add = self.findings.add
        if end.status not in RUNNER_STATUSES or not self._can_be(end.status):
            self._wrong_status(seq, session, end.status, writer)
        if (end.status == "ok" and end.error is not None) or (end.status == "failed" and end.error is None):
            words = f"with error {end.error}" if end.error is not None else "without an error"
            add("status", f"session {session} is {end.status} {words}", session=session, seq=seq)
        if not 1 <= end.attempt <= MAX_ATTEMPT:
            add(
                "attempt",
                f"session {session} has attempt {end.attempt}; 1 to {MAX_ATTEMPT} can be",
                session=session,
                seq=seq,
            )
        plan = self._tally.plan
        target = plan.spec.targets[plan.target(session)].label
        if end.target != target:
            add(
                "target",
                f"session {session} names target {end.target!r}; the plan has {target!r}",
                session=session,
                seq=seq,
            )
        asked = end.platform if end.asked is None else end.asked
        if asked != plan.platform(session):
            add(
                "platform",
                f"session {session} ran for {asked!r}; the plan has {plan.platform(session)!r}",
                session=session,
                seq=seq,
            )
        if end.ended_at < end.started_at:
            add(
                "times",
                f"session {session} ended {end.started_at - end.ended_at:g} s before it started",
                session=session,
                seq=seq,
            )
        self._check_time(seq, session, end.started_at)
        self._check_time(seq, session, end.ended_at)
        for name, value in end.values.items():
            if not 0 <= value <= MAX_VALUE:
                add("measure", f"session {session} measured {name} {value:g}", session=session, seq=seq)

    def _owed(self, seq: int, end: OwedEnd) -> None:
        if not self._own_job(seq, end.job):
            return
        if end.status not in (*STATUSES, UNUSED):
            self._wrong_status(seq, 0, end.status, CONDUCTOR)
            return
        if end.status not in CONDUCTOR_STATUSES or not self._can_be(end.status):
            self._wrong_status(seq, 0, end.status, CONDUCTOR)
        if not 0 <= end.attempt <= MAX_ATTEMPT:
            self.findings.add(
                "attempt", f"the conductor names attempt {end.attempt}; 0 to {MAX_ATTEMPT} can be", seq=seq
            )
        if end.status == "lost" and end.attempt < MAX_DELIVER:
            self.findings.add(
                "attempt",
                f"the conductor calls sessions lost after {end.attempt} attempts; {MAX_DELIVER} come first",
                seq=seq,
            )
        self._check_time(seq, 0, end.at)
        ended = Ended(seq, end.status, self._at or end.at)
        for session in self._sessions(seq, end.ranges):
            if not self._is_first(seq, session, end.attempt, end.status, "the conductor"):
                continue
            if end.status == UNUSED:
                self._tally.leave_unused(session, ended)
            else:
                self._tally.count(session, ended, None, error=end.error, detail=end.detail)

    def _can_be(self, status: str) -> bool:
        """Whether the job's load has such ends at all."""
        load = self._tally.plan.spec.load
        if status == "dropped":
            return isinstance(load, ConstantArrivalRate | RampingArrivalRate)
        return status != UNUSED or isinstance(load, ConstantVus | RampingVus)

    def _sessions(self, seq: int, ranges: list[tuple[int, int]]) -> Iterator[int]:
        """The sessions of the plan that the ranges name; what is wrong with the ranges is reported."""
        size = self._tally.plan.size
        before = 0
        if not ranges:
            self.findings.add("ranges", "a record of the conductor names no session", seq=seq)
        for first, last in sorted(ranges):
            if first > last or (before and first <= before):
                self.findings.add("ranges", f"{first}–{last} after {before} is not a range", seq=seq)
            if first < 1 or last > size:
                self._outside(seq, first if first < 1 else last)
            before = max(before, last)
        for first, last in ranges:
            yield from range(max(first, 1), min(last, size) + 1)

    def _is_first(self, seq: int, session: int, attempt: int, status: str, writer: str) -> bool:
        """True if the record counts; a note says why if it does not."""
        late = self._until is not None and seq > self._until
        counted = self._tally.first.get(session)
        words = f"session {session}, attempt {attempt}, {status} by {writer}"
        if late:
            self._tally.late += 1
            self.findings.add("late", f"{words} came after the claim was made", session=session, seq=seq)
        elif counted is not None:
            self._tally.supersede(seq, session)
            self.findings.add(
                "superseded",
                f"{words} came after the counted record {counted.seq} ({counted.status})",
                session=session,
                seq=seq,
            )
        return counted is None and not late

    def _check_time(self, seq: int, session: int, at: float) -> None:
        if not 0 <= at <= MAX_TIME:
            self.findings.add(
                "times", f"{at:g} is not a time in seconds since 1970", session=session, seq=seq
            )

    def _own_job(self, seq: int, job: str) -> bool:
        if job != self._job.id:
            self.findings.add("forged-job", f"a record of job {self._job.id} names job {job}", seq=seq)
        return job == self._job.id

    def _outside(self, seq: int, session: int) -> None:
        self.findings.add(
            "outside-plan",
            f"session {session} is not in the plan, which has 1 to {self._tally.plan.size}",
            session=session,
            seq=seq,
        )

    def _wrong_status(self, seq: int, session: int, status: str, writer: str) -> None:
        self.findings.add("status", f"{writer} may not give status {status!r}", session=session, seq=seq)

    def report(self) -> AuditReport:
        """Check the whole and the claim, and report. To be called once, after the last record."""
        tally = self._tally
        if self._job.state == "finished":
            for first, last in _missing(tally):
                many = f"sessions {first} to {last} have" if last > first else f"session {first} has"
                self.findings.add("missing", f"{many} no record, and the job is finished", session=first)
        if not self._saw_until and self._until is not None:
            self.findings.add(
                "claim", f"the checkpoint is of sequence {self._until}, where the job has no record"
            )
        check_claim(self._claimed, self._job, tally, self.findings)
        check_verdict(self._job, tally, self.findings)
        return AuditReport(
            job=self._job.id,
            records=self._records,
            counts=tally.counts(),
            found=self.findings.found,
            findings=self.findings.listed(),
        )


def _missing(tally: Tally) -> Iterator[tuple[int, int]]:
    """Inclusive ranges of planned sessions without a record."""
    before = 0
    for session in [*sorted(tally.first), tally.plan.size + 1]:
        if session > before + 1:
            yield before + 1, session - 1
        before = session
