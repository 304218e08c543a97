"""The plan of a job: which target and which platform each session has. A pure function of the spec.

Sessions are numbered from 1. The same spec (its seed included) gives the same plan on every machine and
Python version, so a plan is never stored: whoever takes over a job makes it again.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterator

from broker_config.job_spec import JobSpec
from broker_config.messages import Dispatch

from .shares import split


class Plan:
    """Takes 4 bytes a session."""

    def __init__(self, job: str, spec: JobSpec) -> None:
        self.job = job
        self.spec = spec
        self.size = spec.total_sessions
        self.platforms = list(spec.platform_weights)
        self._targets, self._platforms = _assign(spec, self.size)

    def target(self, session: int) -> int:
        """Index of the session's target in the spec."""
        return self._targets[session - 1]

    def platform(self, session: int) -> str:
        return self.platforms[self._platforms[session - 1]]

    def dispatch(self, session: int, *, attempt: int = 1, generation: int = 0) -> Dispatch:
        """The message that sends the session to a runner."""
        spec = self.spec
        target = spec.targets[self.target(session)]
        return Dispatch(
            job=self.job,
            session=session,
            platform=self.platform(session),
            target=target.label,
            url=target.url,
            attempt=attempt,
            pool=spec.pool,
            seed=session_seed(spec.seed or 0, session),
            retries=spec.retries,
            behaviour=spec.behaviour,
            limits=spec.limits,
            generation=generation,
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
    return int.from_bytes(hashlib.blake2b(f"{seed}.{session}".encode(), digest_size=6).digest())


def _assign(spec: JobSpec, size: int) -> tuple[array[int], array[int]]:
    fixed = [t.sessions for t in spec.targets]
    rest = size - sum(n or 0 for n in fixed)
    open_weights = [t.share for t in spec.targets if t.sessions is None]
    shares = iter(split(rest, open_weights) if open_weights else ())
    counts = [n if n is not None else next(shares) for n in fixed]
    targets = array("H", [i for i, n in enumerate(counts) for _ in range(n)])
    platforms = array("H", _interleave(split(size, list(spec.platform_weights.values()))))
    # Fisher–Yates on random(), whose sequence Python promises to keep; shuffle() makes no such promise.
    rng = random.Random(spec.seed or 0)
    for i in range(size - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        targets[i], targets[j] = targets[j], targets[i]
        platforms[i], platforms[j] = platforms[j], platforms[i]
    return targets, platforms


def _interleave(counts: list[int]) -> Iterator[int]:
    """Indices, each `counts[i]` times, spread evenly: so every target gets its share of every platform."""
    total = sum(counts)
    credit = [0] * len(counts)
    left = list(counts)
    for _ in range(total):
        for i, n in enumerate(counts):
            credit[i] += n
        best = max((i for i in range(len(counts)) if left[i]), key=lambda i: credit[i])
        credit[best] -= total
        left[best] -= 1
        yield best
