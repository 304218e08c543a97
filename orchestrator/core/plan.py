"""The plan of a job: target, platform, device and row of data of each session. A pure function of the spec.

Sessions are numbered from 1. The same spec (its seed included) gives the same plan on every machine and
Python version, so a plan is never stored: whoever takes over a job makes it again.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterator
from operator import add

from broker_config.device import Device, as_devices
from broker_config.egress import Egress
from broker_config.job_spec import JobSpec
from broker_config.journey_problems import MAX_ORIGINS
from broker_config.load import is_open_ended, late_limit
from broker_config.messages import Dispatch
from broker_config.origin import Origin

from .shares import split
from .target_rules import normal_origin

_DIRECT = Egress()
#: Where nobody knows how many sessions there will be, the shares hold in every so many of them.
BLOCK = 100


class Plan:
    """Takes 4 bytes a session, and some more where there are devices or rows of data."""

    def __init__(self, job: str, spec: JobSpec) -> None:
        self.job = job
        self.spec = spec
        #: Where the number of sessions is known at the end only, the most that there can be.
        self.size = spec.total_sessions
        self.open_ended = is_open_ended(spec.load)
        self.platforms = list(spec.platform_weights)
        self._targets, self._platforms = _assign(spec, self.size)
        self._devices = as_devices(spec.devices)
        self._device = spread(self._targets, self._platforms, [d.weight for d in self._devices])
        self._ranks = ranks(self._targets) if spec.data and spec.data.mode == "sequential" else None
        self._origins = _origins(spec)
        self._everywhere = frozenset(str(normal_origin(o)) for o in self._origins)
        self._reach: dict[int, frozenset[str]] = {}

    def target(self, session: int) -> int:
        """Index of the session's target in the spec."""
        return self._targets[session - 1]

    def platform(self, session: int) -> str:
        return self.platforms[self._platforms[session - 1]]

    def chain(self, asked: str) -> list[str]:
        """The platforms that a session for `asked` may get, first choice first."""
        return [asked, *self.spec.fallback.get(asked, ())]

    def device(self, session: int) -> Device | None:
        """The session's device profile; None is the browser's own."""
        return self._devices[self._device[session - 1]] if self._devices else None

    def row(self, session: int) -> int | None:
        """Index of the session's row of data."""
        data = self.spec.data
        if data is None:
            return None
        match data.mode:
            case "session" | "unique":
                position = session - 1
            case "sequential":
                assert self._ranks is not None
                position = self._ranks[session - 1]
            case "random":
                position = _drawn(f"{self.spec.seed or 0}.{session}.row")
        return position % len(data.rows)

    def reach(self, session: int) -> frozenset[str]:
        """The origins whose pages the session may open."""
        target = self.target(session)
        found = self._reach.get(target)
        if found is None:
            own = str(normal_origin(self.spec.targets[target].url))
            found = self._everywhere if own in self._everywhere else self._everywhere | {own}
            self._reach[target] = found
        return found

    def dispatch(
        self,
        session: int,
        *,
        attempt: int = 1,
        generation: int = 0,
        rate: float | None = None,
        got: str | None = None,
        start_at: float | None = None,
    ) -> Dispatch:
        """The message that sends the session to a runner. `rate` is its share of the job's rate ceiling,
        `got` the platform that takes it in place of the one that was asked for, `start_at` its time."""
        spec = self.spec
        asked = self.platform(session)
        target = spec.targets[self.target(session)]
        row = self.row(session)
        return Dispatch(
            job=self.job,
            session=session,
            platform=got or asked,
            asked=asked if got not in (None, asked) else None,
            target=target.label,
            url=target.url,
            attempt=attempt,
            pool=spec.dispatch_pool,
            seed=session_seed(spec.seed or 0, session),
            retries=spec.retries,
            behaviour=spec.behaviour,
            limits=spec.limits,
            generation=generation,
            journey=spec.journey,
            variables=spec.data.variables(row) if spec.data and row is not None else {},
            origins=[o for o in self._origins if not _is_of(o, target.url)],
            device=self.device(session),
            egress=spec.egress if spec.egress != _DIRECT else None,
            third_party=spec.third_party,
            start_at=start_at,
            late_limit=0.0 if start_at is None else late_limit(spec.load),
            rate=rate,
            artifacts=spec.artifacts if spec.artifacts.keep else None,
            script=spec.script,
        )

    def planned_by_target(self) -> dict[str, int]:
        counts = [0] * len(self.spec.targets)
        for t in self._targets:
            counts[t] += 1
        return {t.label: n for t, n in zip(self.spec.targets, counts, strict=True)}

    def planned_by_platform(self) -> dict[str, int]:
        counts = [0] * len(self.platforms)
        for p in self._platforms:
            counts[p] += 1
        return dict(zip(self.platforms, counts, strict=True))

    def sessions_by_platform(self) -> dict[str, array[int]]:
        """The sessions of each platform, in dispatch order."""
        out: dict[str, array[int]] = {p: array("I") for p in self.platforms}
        lists = [out[p] for p in self.platforms]
        for i, p in enumerate(self._platforms, 1):
            lists[p].append(i)
        return out


def session_seed(seed: int, session: int) -> int:
    """The seed of one session's behaviour, independent of its neighbours'."""
    return _drawn(f"{seed}.{session}")


def spread(targets: array[int], platforms: array[int], weights: list[float]) -> array[int]:
    """An index into `weights` for each session: in their shares, exactly, and of each target and platform
    about the same share. Empty without weights."""
    if not weights:
        return array("B")
    size = len(targets)
    # One number for target and platform: a million of them are sorted much faster than pairs.
    most = max(platforms, default=0) + 1
    groups = [t * most + p for t, p in zip(targets, platforms, strict=True)]
    order = sorted(range(size), key=groups.__getitem__)
    out = array("B", bytes(size))
    for at, device in zip(order, _evenly(split(size, weights)), strict=True):
        out[at] = device
    return out


def ranks(targets: array[int]) -> array[int]:
    """How many sessions of the same target come before each session."""
    seen = [0] * (max(targets, default=0) + 1)
    out = array("I")
    for t in targets:
        out.append(seen[t])
        seen[t] += 1
    return out


def _drawn(what: str) -> int:
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=6).digest())


def _origins(spec: JobSpec) -> list[str]:
    """Origins that every session may open: those that the job lists, and those of its targets, where they are
    few enough to travel with each session."""
    listed = {str(Origin.of(o)) for o in spec.origins}
    targets = {str(Origin.of(t.url)) for t in spec.targets}
    return sorted(listed | targets if len(targets) <= MAX_ORIGINS else listed)


def _is_of(origin: str, url: str) -> bool:
    return origin == str(Origin.of(url))


def _assign(spec: JobSpec, size: int) -> tuple[array[int], array[int]]:
    fixed = [t.sessions for t in spec.targets]
    rest = size - sum(n or 0 for n in fixed)
    open_weights = [t.share for t in spec.targets if t.sessions is None]
    shares = iter(split(rest, open_weights) if open_weights else ())
    counts = [n if n is not None else next(shares) for n in fixed]
    targets = array("H", [i for i, n in enumerate(counts) for _ in range(n)])
    platforms = array("H", _interleave(split(size, list(spec.platform_weights.values()))))
    rng = random.Random(spec.seed or 0)
    if not is_open_ended(spec.load):
        _shuffle(rng, 0, size, targets, platforms)
        return targets, platforms
    targets = array("H", _evenly(counts))
    for first in range(0, size, BLOCK):
        # Apart: or the first of two targets would meet the first of two platforms only.
        _shuffle(rng, first, min(first + BLOCK, size), targets)
        _shuffle(rng, first, min(first + BLOCK, size), platforms)
    return targets, platforms


def _shuffle(rng: random.Random, first: int, end: int, *arrays: array[int]) -> None:
    """The same for all arrays."""
    # Fisher–Yates on random(), whose sequence Python promises to keep; shuffle() makes no such promise.
    for i in range(end - 1, first, -1):
        j = first + int(rng.random() * (i - first + 1))
        for a in arrays:
            a[i], a[j] = a[j], a[i]


def _evenly(counts: list[int]) -> Iterator[int]:
    """Indices, each `counts[i]` times: the j-th of an index's c comes at (j + ½)/c of the way."""
    places = [(j + 0.5) / c for c in counts for j in range(c)]
    indices = array("H", [i for i, c in enumerate(counts) for _ in range(c)])
    # The sort is stable: of two at the same place the lower index comes first.
    return (indices[at] for at in sorted(range(len(places)), key=places.__getitem__))


def _interleave(counts: list[int]) -> Iterator[int]:
    """Indices, each `counts[i]` times, spread evenly: so every target gets its share of every platform."""
    total = sum(counts)
    credit = [0] * len(counts)
    for _ in range(total):
        credit = list(map(add, credit, counts))
        # It is above 0, which none is that has had all of its share.
        best = credit.index(max(credit))
        credit[best] -= total
        yield best
