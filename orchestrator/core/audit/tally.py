"""The auditor's own books: the first record of each session, and exact statistics of what was measured."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import NamedTuple

from broker_config.messages import STATUSES, Counts
from orchestrator.core.plan import Plan

from .early_end import EarlyEnd
from .raw_record import RunnerEnd

#: As the checkpoint is documented: targets after the first 50 share one group.
TARGET_GROUPS = 50
OTHER_TARGETS = "(other targets)"
#: What starts later than this after its time is late, ms.
LATE_MS = 100.0
#: Sequences of superseded records that a checkpoint keeps.
KEPT_SEQS = 1_000
#: Examples of each kind of error.
KEPT_EXAMPLES = 3


class Ended(NamedTuple):
    """The counted record of a session; that of a conductor's range is shared by all its sessions."""

    seq: int
    status: str
    at: float
    load: float | None = None


class Group:
    """Sessions of the whole job, of a target or of a platform. `values` holds every value of each metric."""

    def __init__(self, planned: int = 0) -> None:
        self.planned = planned
        self.by_status: Counter[str] = Counter()
        self.retried = 0
        self.saturated = 0
        self.late = 0
        self.faults = 0
        self.values: dict[str, array[float]] = {}

    def sorted(self, metric: str) -> array[float]:
        """All values of the metric in order; empty where there are none."""
        return array("d", sorted(self.values.get(metric, ())))


class Step:
    """A step by name. `values` holds its times, ms, where it succeeded."""

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.values: array[float] = array("d")


class Tally:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.first: dict[int, Ended] = {}
        #: Where the number of sessions is known at the end only, each counts as planned when it has ended.
        self.grows = plan.open_ended
        self.total = Group(0 if self.grows else plan.size)
        self.targets: dict[str, Group] = {}
        self.platforms = {p: Group(0 if self.grows else n) for p, n in plan.planned_by_platform().items()}
        for i, (label, n) in enumerate(plan.planned_by_target().items()):
            key = label if i < TARGET_GROUPS or self._is_judged(label) else OTHER_TARGETS
            self.targets.setdefault(key, Group()).planned += 0 if self.grows else n
        #: Sessions that ran, by the platform that was asked for and the one that they got.
        self.got: dict[str, Counter[str]] = {}
        self.errors: Counter[str] = Counter()
        #: Sessions that ran while nothing was short of CPU.
        self.calm = Group()
        self.steps: dict[str, Step] = {}
        #: `(session, target, platform, runner, detail)` of all errors of each kind, the first few.
        self.examples: dict[str, list[tuple[int, str, str, str, str]]] = {}
        self.refused: Counter[str] = Counter()
        self.third_parties: Counter[str] = Counter()
        self.upstreams: Counter[str] = Counter()
        #: Rules that are said to have ended the job.
        self.early: list[EarlyEnd] = []
        #: Superseded attempts in all, until every session had its record, and after the claim was made.
        self.superseded = 0
        self.superseded_at_end = 0
        self.late = 0
        #: `(sequence, session)` of superseded records.
        self.superseded_records: list[tuple[int, int]] = []

    @property
    def complete(self) -> bool:
        return len(self.first) == self.plan.size

    def count(
        self,
        session: int,
        ended: Ended,
        end: RunnerEnd | None,
        *,
        error: str | None = None,
        detail: str = "",
    ) -> None:
        """Enter the first record of a session of the plan; `end` where a runner wrote it."""
        self.first[session] = ended
        ran = end is not None and ended.status in ("ok", "failed")
        for group in self.groups(session):
            group.by_status[ended.status] += 1
            group.planned += self.grows
            if end is not None:
                group.late += end.values.get("start_error", 0.0) > LATE_MS
                group.retried += end.attempt > 1
                group.saturated += end.saturated
                group.faults += end.fault and ended.status == "failed"
                if ran:
                    _enter(group, end.values)
        if end is not None:
            if ran:
                self._got(end)
                self._steps(end)
                if not end.saturated:
                    _enter(self.calm, end.values)
            self.refused.update(end.refused)
            self.third_parties.update(end.third_parties)
            self.upstreams.update(set(end.upstreams))
        target = self.plan.spec.targets[self.plan.target(session)].label
        platform = self.plan.platform(session)
        if error is not None:
            self.errors[error[:64]] += 1
            examples = self.examples.setdefault(error[:64], [])
            if len(examples) < KEPT_EXAMPLES:
                runner = end.runner[:64] if end else ""
                examples.append((session, target, platform, runner, detail[:200]))
        for rule in self.early:
            values, steps = (end.values, end.steps) if end else ({}, [])
            rule.take(ended.at, ended.status, target, platform, values, steps)
        if self.complete:
            self.superseded_at_end = self.superseded

    def leave_unused(self, session: int, ended: Ended) -> None:
        """Enter that a number was never needed: nothing was planned under it, and nothing is counted."""
        self.first[session] = ended
        if self.complete:
            self.superseded_at_end = self.superseded

    def _got(self, end: RunnerEnd) -> None:
        asked = self.plan.platform(end.session)
        if end.platform == asked or end.platform in self.plan.spec.fallback.get(asked, ()):
            self.got.setdefault(asked, Counter())[end.platform] += 1

    def _steps(self, end: RunnerEnd) -> None:
        for name, ms, good in end.steps:
            step = self.steps.setdefault(name[:64], Step())
            if good:
                step.ok += 1
                step.values.append(ms)
            else:
                step.failed += 1

    def supersede(self, seq: int, session: int) -> None:
        """Enter a further record of a session."""
        self.superseded += 1
        self.superseded_records.append((seq, session))
        del self.superseded_records[:-KEPT_SEQS]

    def _is_judged(self, label: str) -> bool:
        """A threshold names the target, so it has a group of its own."""
        return any(f"target={label}" in t.replace(" ", "") for t in self.plan.spec.expressions)

    def groups(self, session: int) -> tuple[Group, Group, Group]:
        index = self.plan.target(session)
        label = self.plan.spec.targets[index].label
        if index >= TARGET_GROUPS and not self._is_judged(label):
            label = OTHER_TARGETS
        return self.total, self.targets[label], self.platforms[self.plan.platform(session)]

    def counts(self) -> Counts:
        t = self.total
        return Counts(
            planned=t.planned,
            superseded=self.superseded,
            retried=t.retried,
            saturated=t.saturated,
            late=t.late,
            **{status: t.by_status[status] for status in STATUSES},
        )


def _enter(group: Group, values: dict[str, float]) -> None:
    for name, value in values.items():
        group.values.setdefault(name, array("d")).append(value)
