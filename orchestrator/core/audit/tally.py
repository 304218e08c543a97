"""The auditor's own books: the first record of each session, and exact statistics of what was measured."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import NamedTuple

from broker_config.messages import STATUSES, Counts
from orchestrator.core.plan import Plan

#: As the checkpoint is documented: targets after the first 50 share one group.
TARGET_GROUPS = 50
OTHER_TARGETS = "(other targets)"
#: Sequences of superseded records that a checkpoint keeps.
KEPT_SEQS = 1_000


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
        self.values: dict[str, array[float]] = {}

    def sorted(self, metric: str) -> array[float]:
        """All values of the metric in order; empty where there are none."""
        return array("d", sorted(self.values.get(metric, ())))


class Tally:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.first: dict[int, Ended] = {}
        self.total = Group(plan.size)
        self.targets: dict[str, Group] = {}
        self.platforms = {p: Group(n) for p, n in plan.planned_by_platform().items()}
        for i, (label, n) in enumerate(plan.planned_by_target().items()):
            key = label if i < TARGET_GROUPS or self._is_judged(label) else OTHER_TARGETS
            self.targets.setdefault(key, Group()).planned += n
        self.errors: Counter[str] = Counter()
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
        *,
        attempt: int = 0,
        saturated: bool = False,
        error: str | None = None,
        values: dict[str, float] | None = None,
    ) -> None:
        """Enter the first record of a session of the plan."""
        self.first[session] = ended
        for group in self.groups(session):
            group.by_status[ended.status] += 1
            group.retried += attempt > 1
            group.saturated += saturated
            if values and ended.status in ("ok", "failed"):
                for name, value in values.items():
                    group.values.setdefault(name, array("d")).append(value)
        if error is not None:
            self.errors[error[:64]] += 1
        if self.complete:
            self.superseded_at_end = self.superseded

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
            **{status: t.by_status[status] for status in STATUSES},
        )
