"""The job spec: what a user submits. `read_spec` turns a document into a checked `JobSpec`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from . import codec, document
from .arrivals import Arrivals
from .artifacts import Artifacts, artifact_problems
from .behaviour import Behaviour
from .data import Data
from .device import Device, as_devices
from .duration import Duration
from .egress import Egress, ThirdParty, egress_problems, pattern_problems
from .errors import NameRefused, Problem, SpecError
from .fallback_problems import fallback_problems
from .journey import Journey
from .journey_problems import data_problems, device_problems, journey_problems, step_problem
from .load import (
    ConstantArrivalRate,
    ConstantVus,
    Load,
    RampingArrivalRate,
    RampingVus,
    SharedSessions,
    is_open_ended,
    most_sessions,
)
from .load_problems import load_problems
from .origin import Origin
from .platform import PLATFORMS, parse_platform
from .script import MAX_POOL, Script, pool_problem, script_problems, scripts_pool
from .spec_schema import schema_of
from .subjects import token
from .threshold import ThresholdRule
from .threshold import parse as parse_threshold

MAX_SESSIONS = 1_000_000
MAX_TARGETS = 10_000
MAX_THRESHOLDS = 100
#: Of the document as it is stored; the broker takes messages of 1 MiB.
MAX_SPEC_BYTES = 900_000

Name = Annotated[str, Meta(min_length=1, max_length=64)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all parts of the spec."""


class Target(_Part, frozen=True):
    """A start URL. `sessions` fixes its number of sessions; else it takes its `share` of the rest."""

    #: Where the session begins: an absolute http or https URL, without a password in it.
    url: Annotated[str, Meta(max_length=2048)]
    #: Name in reports; by default the URL.
    name: Name | None = None
    #: Its number of sessions, fixed.
    sessions: Annotated[int, Meta(ge=0, le=MAX_SESSIONS)] | None = None
    #: Beside the other targets without a number of their own.
    share: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0

    @property
    def label(self) -> str:
        return self.name or self.url


class Limits(_Part, frozen=True):
    """Hard time limits: what takes longer is ended from outside."""

    #: For a whole session, at most 24h.
    session: Duration = msgspec.field(default_factory=lambda: Duration(120))
    #: For opening a page.
    navigation: Duration = msgspec.field(default_factory=lambda: Duration(30))
    #: Requests a second to any one origin, by all sessions of the job together, wherever they run.
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class JobSpec(_Part, frozen=True):
    """One submission: targets × load × platforms × behaviour."""

    #: Start URLs, each with its sessions or its share of them.
    targets: Annotated[list[Target], Meta(min_length=1, max_length=MAX_TARGETS)]
    #: In place of `targets`: TXT, CSV, XLSX or sitemap.xml, `.gz` too. Read where the job is submitted: a
    #: stored job holds its targets.
    targets_file: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    #: Name in lists and reports.
    name: Name = "job"
    #: Sessions in all. May be left out where every target has its own number, and where the load goes by time
    #: or by rate: then it is an upper bound, and what it leaves of the load is not run.
    sessions: Annotated[int, Meta(ge=1, le=MAX_SESSIONS)] | None = None
    #: How many sessions at once, or how many a second, and for how long.
    load: Load = msgspec.field(default_factory=SharedSessions)
    #: Platforms, as a list (equal shares) or with weights: `{linux-chromium: 3, linux-firefox: 1}`.
    platforms: list[str] | dict[str, float] = msgspec.field(default_factory=lambda: ["linux-chromium"])
    #: What to take where no runner for a platform is online, first choice first:
    #: `{windows-msedge: [windows-chrome, linux-chromium]}`.
    fallback: dict[str, list[str]] = {}
    #: What a session does on the pages that it reads.
    behaviour: Behaviour = msgspec.field(default_factory=Behaviour)
    #: Steps that each session takes, instead of reading as `behaviour` says.
    journey: Journey | None = None
    #: A journey in Python; only for runners that allow scripts.
    script: Script | None = None
    #: Rows of values for the journey's variables.
    data: Data | None = None
    #: Device profiles: a list of names or profiles, or names with weights. Without them: the browser's own.
    devices: list[str | Device] | dict[str, float] = []
    #: Hard time limits, and the rate of requests.
    limits: Limits = msgspec.field(default_factory=Limits)
    #: Origins beside those of the targets that sessions may open as pages, such as a login host.
    origins: Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=200)] = []
    #: Resources of other origins that pages may load, frames included: none (`block`), those of the listed
    #: origins, or `all`. Each is reported. A page of another origin is never opened as the session's own
    #: document: that takes a target, or an entry in `origins`.
    third_party: ThirdParty = "block"
    #: How sessions leave the runner: direct, or by proxies.
    egress: Egress = msgspec.field(default_factory=Egress)
    #: What is kept of sessions beside their numbers.
    artifacts: Artifacts = msgspec.field(default_factory=Artifacts)
    #: Expressions such as `load.p95 < 2500ms` or `error_rate < 1%`; one that does not hold fails the job.
    thresholds: Annotated[
        list[Annotated[str, Meta(max_length=200)] | ThresholdRule], Meta(max_length=MAX_THRESHOLDS)
    ] = []
    #: 0 (last) to 9 (first): the job's share of the fleet beside other jobs.
    priority: Annotated[int, Meta(ge=0, le=9)] = 4
    #: How often a session is tried again after a fault of runner, browser or egress.
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    #: Makes plan and behaviour reproducible; drawn when left out.
    seed: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    #: Only runners of this pool.
    pool: Name | None = None
    #: Words of your own: at most 32, names up to 64 and values up to 256 characters.
    tags: dict[str, str] = {}

    @property
    def total_sessions(self) -> int:
        """Sessions in all. Where the load knows their number only at the end, the most that there can be."""
        given = self.sessions
        if given is None and self.is_bounded:
            given = sum(t.sessions or 0 for t in self.targets)
        match self.load:
            case ConstantArrivalRate() | RampingArrivalRate():
                count = Arrivals(self.load).count
                return count if given is None else min(given, count)
            case ConstantVus() | RampingVus() if given is None:
                return min(most_sessions(self.load), MAX_SESSIONS)
        return given or 0

    @property
    def is_bounded(self) -> bool:
        """Whether the job itself says how many sessions there are, or are at most."""
        return self.sessions is not None or all(t.sessions is not None for t in self.targets)

    @property
    def planned_sessions(self) -> int:
        """Sessions in all, where their number is known beforehand; else 0."""
        return 0 if is_open_ended(self.load) else self.total_sessions

    @property
    def dispatch_pool(self) -> str | None:
        """The pool whose runners get its sessions: that of the job, or one of runners that allow scripts."""
        return self.pool if self.script is None else scripts_pool(self.pool)

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
    if isinstance(raw, dict) and raw.get("targets_file") is not None:
        has_both = "targets" in raw
        what = "is read by `tb` where a job is submitted; give its targets here"
        what = "stands beside targets; give one of them" if has_both else what
        raise SpecError([Problem("targets_file", what)], source)
    spec = document.read(raw, JobSpec, source)
    problems = list(_problems(spec))
    if problems:
        raise SpecError(problems, source)
    return spec


def json_schema() -> dict[str, Any]:
    """The spec's JSON Schema (2020-12), of what users write."""
    schema = schema_of(JobSpec, "TrafficBuster job")
    job = schema["$defs"]["JobSpec"]
    job["required"].remove("targets")
    job["anyOf"] = [{"required": ["targets"]}, {"required": ["targets_file"]}]
    # `read_spec` takes a load without an executor for this one.
    schema["$defs"]["SharedSessions"]["required"].remove("executor")
    return schema


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
    numbers = list(load_problems(spec.load, spec.sessions, [t.sessions for t in spec.targets], MAX_SESSIONS))
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
