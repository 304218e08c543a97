"""The job spec: what a user submits. `read_spec` turns a document into a checked `JobSpec`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from . import document
from .arrivals import Arrivals
from .artifacts import Artifacts
from .behaviour import Behaviour
from .data import Data
from .device import Device
from .duration import Duration
from .egress import Egress, ThirdParty
from .errors import Problem, SpecError
from .journey import Journey
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
from .script import Script, scripts_pool
from .spec_problems import spec_problems
from .spec_schema import schema_of
from .threshold import ThresholdRule

MAX_SESSIONS = 1_000_000
MAX_TARGETS = 10_000
MAX_THRESHOLDS = 100

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
    problems = list(spec_problems(spec, max_sessions=MAX_SESSIONS))
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
