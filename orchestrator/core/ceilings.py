"""Ceilings of origins, for all jobs together: sessions at once, and requests a second. No I/O.

A session counts at every origin whose pages it may open, since it may be at any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from broker_config.target_proof import Target

from .rate_budget import RateBudget


class _Held(NamedTuple):
    project: str
    origins: frozenset[str]
    rate: float | None


class _Bound:
    """One target's ceilings, and what is taken of them. `project` None: they bind all."""

    def __init__(self, target: Target, project: str | None) -> None:
        self.origin = target.origin
        self.project = project
        self.sessions = target.sessions
        self.budget = RateBudget(target.rate) if target.rate is not None else None
        self.held: set[tuple[str, int]] = set()

    def binds(self, project: str, origins: Collection[str]) -> bool:
        return self.origin in origins and self.project in (None, project)

    def room(self, concurrency: int) -> int | None:
        """None is no bound."""
        rooms = []
        if self.sessions is not None:
            rooms.append(self.sessions - len(self.held))
        if self.budget is not None:
            rooms.append(self.budget.room(self.concurrency(concurrency)))
        return max(0, min(rooms)) if rooms else None

    def concurrency(self, wanted: int) -> int:
        """Sessions that share the rate: no more than there can be at once."""
        return min(wanted, self.sessions) if self.sessions is not None else wanted


class Ceilings:
    """Mutable. Sessions are named by job and number; `expected` is how many of a job may run at once."""

    def __init__(self) -> None:
        self._bounds: dict[str, _Bound] = {}
        self._held: dict[tuple[str, int], _Held] = {}
        self._expected: dict[str, tuple[str, frozenset[str], int]] = {}

    @property
    def active(self) -> bool:
        """Whether there are any."""
        return bool(self._bounds)

    def set(self, targets: Iterable[Target]) -> None:
        """These are the targets now; sessions in flight count at new ceilings too."""
        self._bounds = {}
        for t in targets:
            if t.sessions is None and t.rate is None:
                continue
            for_all = t.state == "verified" or t.grant is not None
            self._bounds[t.key] = _Bound(t, None if for_all else t.project)
        for session, held in self._held.items():
            self._enter(session, held)

    def expect(self, job: str, project: str, origins: frozenset[str], sessions: int) -> None:
        """So many sessions of the job may run at once."""
        self._expected[job] = (project, origins, sessions)

    def room(self, project: str, origins: frozenset[str]) -> int | None:
        """How many more sessions with these origins may begin; None is no bound."""
        rooms = [b.room(self._concurrency(b)) for b in self._of(project, origins)]
        given = [r for r in rooms if r is not None]
        return min(given) if given else None

    def rate(self, project: str, origins: frozenset[str]) -> float | None:
        """The share of the next session; None is no bound."""
        shares = [
            b.budget.share(b.concurrency(self._concurrency(b)))
            for b in self._of(project, origins)
            if b.budget is not None
        ]
        return min(shares) if shares else None

    def enter(
        self, job: str, session: int, project: str, origins: frozenset[str], rate: float | None
    ) -> None:
        """The session is in flight, with that share of the rate of each origin; again without effect."""
        key = (job, session)
        known = self._held.get(key)
        if known is not None and (known.rate is not None or rate is None):
            return
        self._held[key] = held = _Held(project, origins, rate)
        self._enter(key, held)

    def release(self, job: str, session: int) -> None:
        key = (job, session)
        held = self._held.pop(key, None)
        if held is None or not self._bounds:
            return
        for bound in self._bounds.values():
            bound.held.discard(key)
            if bound.budget is not None:
                bound.budget.release(key)

    def forget(self, job: str) -> None:
        """The job is conducted no more."""
        self._expected.pop(job, None)
        for key in [k for k in self._held if k[0] == job]:
            self.release(*key)

    def _enter(self, key: tuple[str, int], held: _Held) -> None:
        for bound in self._of(held.project, held.origins):
            bound.held.add(key)
            if bound.budget is not None and held.rate is not None:
                bound.budget.recover(key, held.rate)

    def _of(self, project: str, origins: Collection[str]) -> list[_Bound]:
        return [b for b in self._bounds.values() if b.binds(project, origins)]

    def _concurrency(self, bound: _Bound) -> int:
        return max(1, sum(n for p, o, n in self._expected.values() if bound.binds(p, o)))
