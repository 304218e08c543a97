"""What can be wrong with a job spec as a whole, beyond the types of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import codec
from .artifacts import artifact_problems
from .device import as_devices
from .egress import egress_problems, pattern_problems
from .errors import NameRefused, Problem
from .fallback_problems import fallback_problems
from .journey_problems import data_problems, device_problems, journey_problems, step_problem
from .load import is_open_ended
from .load_problems import load_problems
from .origin import Origin
from .platform import PLATFORMS, parse_platform
from .script import MAX_POOL, pool_problem, script_problems
from .secret_ref import places as ref_places
from .secret_ref import ref_problems
from .subjects import token
from .threshold import parse as parse_threshold

if TYPE_CHECKING:
    from .job_spec import JobSpec

#: Of the document as it is stored; the broker takes messages of 1 MiB.
MAX_SPEC_BYTES = 900_000


def spec_problems(spec: JobSpec, *, max_sessions: int) -> Iterator[Problem]:
    """What is wrong with a spec whose fields are of the right types."""
    seen: dict[str, int] = {}
    for i, t in enumerate(spec.targets):
        where = f"targets[{i}]"
        try:
            Origin.of(t.url)
        except ValueError as e:
            yield Problem(f"{where}.url", str(e))
        else:
            if urlsplit(t.url).username is not None:
                yield Problem(f"{where}.url", "a user name or password in a URL is not allowed")
        if t.label in seen:
            yield Problem(
                f"{where}.name", f"{t.label!r} is the name of targets[{seen[t.label]}] too; names must differ"
            )
        seen.setdefault(t.label, i)
    numbers = list(load_problems(spec.load, spec.sessions, [t.sessions for t in spec.targets], max_sessions))
    yield from numbers
    if not spec.platforms:
        yield Problem("platforms", f"is empty; allowed are {', '.join(PLATFORMS)}")
    for p, weight in spec.platform_weights.items():
        try:
            parse_platform(p)
        except ValueError as e:
            yield Problem("platforms", str(e))
        if not 0 < weight <= 1_000_000:
            yield Problem(f"platforms.{p}", f"weight {weight} is not allowed; use a number above 0")
    if isinstance(spec.platforms, list) and len(set(spec.platforms)) < len(spec.platforms):
        yield Problem("platforms", "a platform stands there twice; use weights to give it a larger share")
    yield from fallback_problems(spec.fallback, spec.platform_weights)
    if spec.limits.session <= 0 or spec.limits.navigation <= 0:
        yield Problem("limits", "a limit of 0 is not allowed")
    if spec.limits.session > 86_400:
        yield Problem("limits.session", f"{spec.limits.session} is too long; at most 24h")
    yield from egress_problems(spec.egress)
    yield from pattern_problems(spec.third_party)
    for i, text in enumerate(spec.origins):
        try:
            Origin.of(text)
        except ValueError as e:
            yield Problem(f"origins[{i}]", str(e))
    yield from artifact_problems(spec.artifacts)
    yield from _behaviour_problems(spec)
    yield from device_problems(as_devices(spec.devices), mapping=isinstance(spec.devices, dict))
    if spec.data is not None:
        bounded = not is_open_ended(spec.load) or spec.is_bounded
        yield from data_problems(spec.data, (0 if numbers else spec.total_sessions) if bounded else None)
    if spec.journey is not None:
        yield from journey_problems(spec.journey, spec.data, [t.url for t in spec.targets], spec.origins)
    if spec.script is not None:
        yield from script_problems(spec.script)
        if spec.journey is not None:
            yield Problem("script", "goes in place of a journey; give one of the two")
    named = list(ref_places(spec.journey, spec.data.rows if spec.data else (), spec.script))
    yield from ref_problems(named)
    for _, where in named:
        if where.endswith(".screenshot"):
            yield Problem(where, "a secret does not go into the name of a picture, which everybody sees")
    if named and not spec.artifacts.mask:
        what = "false does not go with secrets, which artifacts would show"
        yield Problem("artifacts.mask", f"{what}; {named[0][1]} names one")
    if spec.pool is not None:
        try:
            token(spec.pool, "pool")
        except NameRefused as e:
            yield Problem("pool", str(e))
        if kept := pool_problem(spec.pool):
            yield Problem("pool", kept)
        elif spec.script is not None and len(spec.pool) > MAX_POOL:
            yield Problem("pool", f"is too long for a scripted job; at most {MAX_POOL} characters")
    for i, rule in enumerate(spec.rules):
        if rule.problem:
            yield Problem(f"thresholds[{i}]", rule.problem)
    for i, text in enumerate(spec.expressions):
        try:
            threshold = parse_threshold(text)
        except ValueError as e:
            yield Problem(f"thresholds[{i}]", str(e))
            continue
        # What steps a script takes is known when it runs.
        if threshold.step and not spec.script and (no := step_problem(threshold.step, spec.journey)):
            yield Problem(f"thresholds[{i}]", no)
        groups = {"target": list(seen), "platform": list(spec.platform_weights)}.get(threshold.group)
        if groups is not None and threshold.value not in groups:
            known = ", ".join(groups[:10])
            yield Problem(
                f"thresholds[{i}]", f"the job has no {threshold.group} {threshold.value!r}; it has {known}"
            )
    if len(spec.tags) > 32 or any(len(k) > 64 or len(v) > 256 for k, v in spec.tags.items()):
        yield Problem("tags", "at most 32 tags, names up to 64 and values up to 256 characters")
    size = len(codec.encode(spec))
    if size > MAX_SPEC_BYTES:
        rows = f" ({len(codec.encode(spec.data)) // 1000} KB of them data rows)" if spec.data else ""
        yield Problem(
            "", f"the job is {size // 1000} KB{rows}; at most {MAX_SPEC_BYTES // 1000} KB can be stored"
        )


def _behaviour_problems(spec: JobSpec) -> Iterator[Problem]:
    pages, limit = spec.behaviour.resolved(), spec.limits.session
    if pages.longest < limit:
        return
    if pages.depth == 1 or not pages.click_ratio:
        yield Problem(
            "behaviour.dwell", f"{pages.dwell} does not fit into limits.session ({limit}); raise it"
        )
    else:
        yield Problem(
            "behaviour.depth",
            f"{pages.depth} pages of {pages.dwell}, with {pages.think} between them, do not fit into "
            f"limits.session ({limit}); raise it",
        )
