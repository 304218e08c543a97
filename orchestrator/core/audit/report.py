"""What an audit has found."""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.messages import Counts

#: Findings that are listed; beyond that they are only counted.
MAX_FINDINGS = 1_000

Kind = Literal[
    # of one record
    "unreadable",  # no record can be made of it
    "subject",  # on a subject that is none of the job's
    "forged-job",  # its content names another job than its subject
    "forged-runner",  # its content names another runner than its subject
    "order",  # its sequence does not grow, or is older than the job
    "outside-plan",  # of a session that the plan does not have
    "ranges",  # a conductor's range that is none, or overlaps another of the same record
    "status",  # a status that its writer may not give, or that its error contradicts
    "attempt",  # an attempt number that cannot be
    "target",  # not the plan's target
    "platform",  # not the plan's platform
    "times",  # ended before it started
    "measure",  # a value that cannot have been measured
    # of the whole
    "missing",  # planned sessions without a record, although the job is finished
    "expired",  # the stream no longer holds the job's first records
    # of what was claimed
    "claim",  # not a claim about this job, or about this stream
    "double-counted",  # counted without, or more often than by, a record
    "not-counted",  # has a record and was not counted
    "totals",  # a count differs
    "metric",  # count, min, max, sum or a bucket of a metric differs
    "quantile",  # a percentile is off by more than the sketch may be
    "superseded-count",  # superseded attempts were counted otherwise
    "errors",  # classes of errors, or their examples, differ
    "steps",  # counts or times of a step differ
    "origins",  # requests refused or to third parties, or sessions by proxy, differ
    "timeline",  # sessions over time differ
    "thresholds",  # said to hold and does not, or the other way round
    "verdict",  # the verdict does not follow from the records
    # notes
    "superseded",  # an attempt that ended after the counted one: reported, never counted
    "late",  # a record that came after the claim was made
]

NOTES: frozenset[Kind] = frozenset({"superseded", "late"})


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`session` and `seq` (of the stream PROGRESS) are 0 where the finding is not about one."""

    kind: Kind
    text: str
    session: int = 0
    seq: int = 0

    @property
    def is_fault(self) -> bool:
        """False for a note: something worth knowing that is as it should be."""
        return self.kind not in NOTES


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """`counts` is derived from the records alone; `found` counts findings of each kind, listed or not."""

    job: str
    records: int
    counts: Counts
    found: dict[Kind, int] = {}
    findings: list[Finding] = []

    @property
    def faults(self) -> int:
        return sum(n for kind, n in self.found.items() if kind not in NOTES)

    @property
    def agrees(self) -> bool:
        """True when the records are sound and all that was claimed follows from them."""
        return not self.faults


class Findings:
    """Mutable; faults have their place even where there are more notes than can be listed."""

    def __init__(self) -> None:
        self.found: dict[Kind, int] = {}
        self._faults: list[Finding] = []
        self._notes: list[Finding] = []

    def add(self, kind: Kind, text: str, *, session: int = 0, seq: int = 0) -> None:
        self.found[kind] = self.found.get(kind, 0) + 1
        listed = self._notes if kind in NOTES else self._faults
        if len(listed) < MAX_FINDINGS:
            listed.append(Finding(kind=kind, text=text, session=session, seq=seq))

    def listed(self) -> list[Finding]:
        """Faults first, each in the order in which they were found."""
        return (self._faults + self._notes)[:MAX_FINDINGS]
