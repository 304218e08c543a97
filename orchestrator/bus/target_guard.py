"""Says whether a job may use its origins: by the rules, by the targets of its project, and by asking the
origins themselves whether they still prove it. What cannot be found out is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from broker_config.errors import Problem, SpecError
from broker_config.grant import Ceiling
from broker_config.job_spec import JobSpec
from broker_config.origin import Origin
from broker_config.target_proof import ProofMethod, Target, target_id, target_key
from orchestrator.core import admission, target_rules
from orchestrator.core.target_rules import FRESH, Grounds, Standing

from .target_prover import TargetProver
from .target_store import TargetStore

N = TypeVar("N", int, float)

#: Proofs that are looked at once.
_AT_ONCE = 8


class Recheck(NamedTuple):
    """`problem` in words, empty where all is well; `passing` that it could not be found out, and may be well
    the next time."""

    problem: str = ""
    passing: bool = False


class TargetGuard:
    """Every call may raise `BrokerUnavailable`. `clock` gives seconds since 1970; `fresh` as in
    `target_rules.FRESH`."""

    def __init__(
        self,
        store: TargetStore,
        prover: TargetProver,
        grounds: Grounds,
        *,
        clock: Callable[[], float],
        fresh: float = FRESH,
    ) -> None:
        self.store = store
        self.grounds = grounds
        self._prover = prover
        self._clock = clock
        self._fresh = fresh
        # Apart, so that users who ask for proofs of slow sites do not delay those of jobs that run.
        self._for_users = asyncio.Semaphore(_AT_ONCE)
        self._for_jobs = asyncio.Semaphore(_AT_ONCE)

    async def verify(self, project: str, id: str, method: ProofMethod | None = None) -> Target:
        """Ask the origin now, by that method or by all; the target with what was found. One that was proved
        stays so when nobody could say. Raises `TargetNotFound`."""
        target = await self.store.get(project, id)
        return await self._proved(target, method, self._for_users)

    async def admit(self, spec: JobSpec, project: str, *, ask: bool = True) -> None:
        """Raises `SpecError` that names each place whose origin the project may not use, with what to do.
        Without `ask` an old proof does, and no site is asked."""
        found = target_rules.origins_of(spec)
        mine = await self._mine(project, found.values())
        problems, to_prove = [], []
        for where, origin in found.items():
            target = mine.get(str(origin))
            standing = target_rules.standing(origin, project, self.grounds, target)
            if ask and standing.proof and target is not None and self._is_stale(target):
                # One that has failed may be well again.
                to_prove.append((where, origin, target))
            elif standing.problem:
                problems.append(Problem(where, standing.problem))
        checked = await asyncio.gather(*(self._proved(t, t.method, self._for_users) for _, _, t in to_prove))
        for (where, origin, _), target in zip(to_prove, checked, strict=True):
            if problem := self._problem(origin, project, target):
                problems.append(Problem(where, problem))
        problems += admission.third_parties(
            spec, self.grounds, lambda o: (t := mine.get(str(o))) is not None and t.grant is not None
        )
        if problems:
            raise SpecError(problems)

    def bound(self, spec: JobSpec) -> list[Origin]:
        """Those of its origins that need a target."""
        return [o for o in target_rules.origins_of(spec).values() if not self.grounds.frees(o)]

    def standing(self, project: str, origins: Iterable[Origin]) -> str:
        """Why a job may not go on there, by what was heard of its targets; empty if it may. Asks nobody."""
        for origin in origins:
            found = self._standing(origin, project)
            if found.problem:
                return found.problem
        return ""

    async def recheck(self, project: str, origins: Sequence[Origin]) -> Recheck:
        """Ask each of these origins that has to be proved."""
        mine = await self._mine(project, origins)
        to_prove = []
        for origin in origins:
            target = mine.get(str(origin))
            standing = target_rules.standing(origin, project, self.grounds, target)
            if standing.proof and target is not None:
                if self._is_stale(target):
                    to_prove.append((origin, target))
                elif standing.problem:
                    return Recheck(standing.problem)
            elif standing.problem:
                return Recheck(standing.problem)
        checked = await asyncio.gather(*(self._proved(t, t.method, self._for_jobs) for _, t in to_prove))
        out = Recheck()
        for (origin, _), target in zip(to_prove, checked, strict=True):
            if problem := self._problem(origin, project, target):
                passing = target.state == "verified"
                if not passing:
                    return Recheck(problem)
                out = Recheck(problem, passing=True)
        return out

    # --- what goes into grants -----------------------------------------------------------------------------

    def private_hosts(self, project: str, origins: list[str]) -> list[str]:
        """Hosts of these origins that may lead to addresses that are not public."""
        found = (Origin.of(o) for o in origins)
        return sorted({o.host for o in found if self._standing(o, project).private})

    def ceilings(self, project: str, origins: list[str]) -> dict[str, Ceiling]:
        """The lowest of each origin, by origin."""
        wanted = set(origins)
        out: dict[str, Ceiling] = {}
        for target in self.store.known.values():
            if target.origin not in wanted or not bounds(target, project):
                continue
            if target.sessions is None and target.rate is None:
                continue
            other = out.get(target.origin, Ceiling())
            out[target.origin] = Ceiling(
                sessions=_lower(other.sessions, target.sessions), rate=_lower(other.rate, target.rate)
            )
        return out

    # --- details -------------------------------------------------------------------------------------------

    async def _mine(self, project: str, origins: Iterable[Origin]) -> Mapping[str, Target]:
        ids = [target_id(str(o)) for o in origins if not self.grounds.frees(o)]
        return {t.origin: t for t in await self.store.some(project, ids)} if ids else {}

    def _standing(self, origin: Origin, project: str) -> Standing:
        target = self.store.known.get(target_key(project, str(origin)))
        return target_rules.standing(origin, project, self.grounds, target)

    def _is_stale(self, target: Target) -> bool:
        """Whether it has to be asked again: it was proved once, and not just now."""
        return target.state != "pending" and not target_rules.is_fresh(target, self._clock(), self._fresh)

    def _problem(self, origin: Origin, project: str, target: Target) -> str:
        """Of one that was asked just now."""
        if target.state == "verified" and target.detail:
            # It was proved, and could not be asked now.
            return f"{origin} could not be asked for its proof: {target.detail}"
        return target_rules.standing(origin, project, self.grounds, target).problem

    async def _proved(self, target: Target, method: ProofMethod | None, slots: asyncio.Semaphore) -> Target:
        async with slots:
            finding = await self._prover.prove(
                target.origin, target.token, method=method, granted=target.grant is not None
            )
        now = self._clock()

        def change(found: Target) -> Target:
            if found.token != target.token:
                return found  # it was removed and made anew meanwhile
            if finding.method is not None:
                return msgspec.structs.replace(
                    found, state="verified", method=finding.method, verified_at=now, checked_at=now, detail=""
                )
            state = found.state
            if finding.conclusive:
                state = "pending" if found.state == "pending" else "failed"
            return msgspec.structs.replace(found, state=state, checked_at=now, detail=finding.detail)

        return await self.store.change(target.project, target.id, change)


def bounds(target: Target, project: str) -> bool:
    """Whether the ceilings of a target hold for jobs of that project: for all where it is proved or granted,
    since nobody is to slow down others by naming what is not theirs; else for those of its own."""
    return target.project == project or target.state == "verified" or target.grant is not None


def _lower(one: N | None, other: N | None) -> N | None:
    given = [x for x in (one, other) if x is not None]
    return min(given) if given else None
