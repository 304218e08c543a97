"""The job spec: what a user submits. `read_spec` turns a document into a checked `JobSpec`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from . import codec, document
from .artifacts import Artifacts
from .behaviour import Behaviour
from .data import Data
from .device import Device, as_devices
from .duration import Duration
from .egress import Egress, ThirdParty, egress_problems, pattern_problems
from .errors import NameRefused, Problem, SpecError
from .journey import Journey
from .journey_problems import data_problems, device_problems, journey_problems, step_problem
from .load import Load, SharedSessions
from .origin import Origin
from .platform import PLATFORMS, parse_platform
from .script import Script
from .subjects import token
from .threshold import ThresholdRule
from .threshold import parse as parse_threshold

MAX_SESSIONS = 1_000_000
MAX_TARGETS = 10_000
#: Of the document as it is stored; the broker takes messages of 1 MiB.
MAX_SPEC_BYTES = 900_000

Name = Annotated[str, Meta(min_length=1, max_length=64)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all parts of the spec."""


class Target(_Part, frozen=True):
    """A start URL. `sessions` fixes its number of sessions; else it takes its `share` of the rest."""

    url: Annotated[str, Meta(max_length=2048)]
    #: Name in reports; by default the URL.
    name: Name | None = None
    sessions: Annotated[int, Meta(ge=0, le=MAX_SESSIONS)] | None = None
    share: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0

    @property
    def label(self) -> str:
        return self.name or self.url


class Limits(_Part, frozen=True):
    """Hard time limits: what takes longer is ended from outside."""

    session: Duration = msgspec.field(default_factory=lambda: Duration(120))
    navigation: Duration = msgspec.field(default_factory=lambda: Duration(30))
    #: Requests a second to any one origin, by all sessions of the job together, wherever they run.
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class JobSpec(_Part, frozen=True):
    """One submission: targets × load × platforms × behaviour."""

    targets: Annotated[list[Target], Meta(min_length=1, max_length=MAX_TARGETS)]
    name: Name = "job"
    #: Sessions in all. May be left out where every target has its own number.
    sessions: Annotated[int, Meta(ge=1, le=MAX_SESSIONS)] | None = None
    load: Load = msgspec.field(default_factory=SharedSessions)
    #: Platforms, as a list (equal shares) or with weights: `{linux-chromium: 3, linux-firefox: 1}`.
    platforms: list[str] | dict[str, float] = msgspec.field(default_factory=lambda: ["linux-chromium"])
    #: What to take where no runner for a platform is online, first choice first:
    #: `{windows-msedge: [windows-chrome, linux-chromium]}`.
    fallback: dict[str, list[str]] = {}
    behaviour: Behaviour = msgspec.field(default_factory=Behaviour)
    #: Steps that each session takes, instead of reading as `behaviour` says.
    journey: Journey | None = None
    #: A journey in Python; only for runners that allow scripts.
    script: Script | None = None
    #: Rows of values for the journey's variables.
    data: Data | None = None
    #: Device profiles: a list of names or profiles, or names with weights. Without them: the browser's own.
    devices: list[str | Device] | dict[str, float] = []
    limits: Limits = msgspec.field(default_factory=Limits)
    #: Origins beside those of the targets that sessions may open as pages, such as a login host.
    origins: Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=200)] = []
    third_party: ThirdParty = "block"
    egress: Egress = msgspec.field(default_factory=Egress)
    artifacts: Artifacts = msgspec.field(default_factory=Artifacts)
    #: Expressions such as `load.p95 < 2500ms` or `error_rate < 1%`; one that does not hold fails the job.
    thresholds: list[Annotated[str, Meta(max_length=200)] | ThresholdRule] = []
    #: 0 (last) to 9 (first): the job's share of the fleet beside other jobs.
    priority: Annotated[int, Meta(ge=0, le=9)] = 4
    #: How often a session is tried again after a fault of runner, browser or egress.
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    #: Makes plan and behaviour reproducible; drawn when left out.
    seed: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    #: Only runners of this pool.
    pool: Name | None = None
    tags: dict[str, str] = {}

    @property
    def total_sessions(self) -> int:
        """Sessions in all."""
        if self.sessions is not None:
            return self.sessions
        return sum(t.sessions or 0 for t in self.targets)

    @property
    def rules(self) -> list[ThresholdRule]:
        """The thresholds, all in their long form."""
        return [t if isinstance(t, ThresholdRule) else ThresholdRule(threshold=t) for t in self.thresholds]

    @property
    def expressions(self) -> list[str]:
        """The thresholds' expressions."""
        return [r.threshold for r in self.rules]

    @property
    def platform_weights(self) -> dict[str, float]:
        if isinstance(self.platforms, dict):
            return dict(self.platforms)
        return dict.fromkeys(self.platforms, 1.0)


SpecSource = Literal["api", "cli", "web", "demo"]


def read_spec(raw: Any, source: str = "") -> JobSpec:
    """Turn a document (plain dicts and lists) into a checked spec.

    Raises `SpecError` that names every problem found: field, value and what is allowed. `source` (a file
    name) stands in front of the message.
    """
    load = raw.get("load") if isinstance(raw, dict) else None
    if isinstance(load, dict) and "executor" not in load:
        raw = raw | {"load": {"executor": "shared-sessions", **load}}
    spec = document.read(raw, JobSpec, source)
    problems = list(_problems(spec))
    if problems:
        raise SpecError(problems, source)
    return spec


def json_schema() -> dict[str, Any]:
    """The spec's JSON Schema (2020-12)."""
    schema = msgspec.json.schema(JobSpec, schema_hook=codec.schema_hook)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "TrafficBuster job", **schema}


def _problems(spec: JobSpec) -> Iterator[Problem]:
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
    fixed = sum(t.sessions or 0 for t in spec.targets)
    open_targets = [i for i, t in enumerate(spec.targets) if t.sessions is None]
    if spec.sessions is None:
        if open_targets:
            i = open_targets[0]
            yield Problem("sessions", f"is missing; give it, or give targets[{i}] its own number of sessions")
        elif fixed == 0:
            yield Problem("sessions", "the targets have 0 sessions in all; at least 1 is needed")
        elif fixed > MAX_SESSIONS:
            yield Problem("targets", f"{fixed} sessions in all; at most {MAX_SESSIONS} are allowed")
    elif fixed > spec.sessions:
        yield Problem("sessions", f"{spec.sessions} is less than the {fixed} that the targets ask for")
    elif not open_targets and fixed != spec.sessions:
        yield Problem("sessions", f"{spec.sessions} differs from the {fixed} of all targets; leave one out")
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
    yield from _behaviour_problems(spec)
    yield from device_problems(as_devices(spec.devices), mapping=isinstance(spec.devices, dict))
    if spec.data is not None:
        yield from data_problems(spec.data, spec.total_sessions)
    if spec.journey is not None:
        yield from journey_problems(spec.journey, spec.data, [t.url for t in spec.targets], spec.origins)
    if spec.pool is not None:
        try:
            token(spec.pool, "pool")
        except NameRefused as e:
            yield Problem("pool", str(e))
    for i, text in enumerate(spec.expressions):
        try:
            threshold = parse_threshold(text)
        except ValueError as e:
            yield Problem(f"thresholds[{i}]", str(e))
            continue
        if threshold.step and (wrong := step_problem(threshold.step, spec.journey)):
            yield Problem(f"thresholds[{i}]", wrong)
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
