"""`job.progress.<job>`: the job's aggregate, at most 10 a second."""

from __future__ import annotations

from typing import Literal

import msgspec

from .registration import PROTOCOL

#: queued → running ⇄ paused → (cancelling) → finished
JobState = Literal["queued", "running", "paused", "cancelling", "finished"]
#: `failed`: a threshold does not hold; `aborted`: cancelled or killed; `error`: sessions lost, or none ran.
Verdict = Literal["passed", "failed", "aborted", "error"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions. `planned = ok + failed + cancelled + lost + dropped` once the job is finished.

    Where the load knows their number only at the end, `planned` is what has ended and what is in flight.
    """

    planned: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    dropped: int = 0
    #: Now with a runner / dispatched and waiting for one.
    running: int = 0
    dispatched: int = 0
    #: Records of attempts that came after the counted one.
    superseded: int = 0
    #: Counted sessions that took more than one attempt / ran while their machine was saturated.
    retried: int = 0
    saturated: int = 0
    #: Counted sessions of an open-model load that started more than 100 ms after their time.
    late: int = 0

    @property
    def ended(self) -> int:
        return self.ok + self.failed + self.cancelled + self.lost + self.dropped


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. Quantiles are within 1 % of the true value; min, max, mean and count are exact."""

    count: int
    min: float
    max: float
    mean: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float


class GroupSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions of one target or one platform."""

    planned: int = 0
    ok: int = 0
    failed: int = 0
    load_p50: float | None = None
    load_p95: float | None = None


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """`seq` grows with each update of the job, across conductors too; gaps in it mean nothing."""

    job: str
    seq: int
    at: float
    state: JobState
    counts: Counts
    protocol: int = PROTOCOL
    name: str = ""
    verdict: Verdict | None = None
    #: Why the verdict is what it is, in words.
    reason: str = ""
    #: Platforms that sessions wait for because no online runner offers them.
    waiting_for: list[str] = []
    #: Sessions ended per second over the last 10 s.
    rate: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    runners: int = 0
    metrics: dict[str, Summary] = {}
    errors: dict[str, int] = {}
    #: At most 20 of each, the largest; all of them are at `GET /api/v1/jobs/<id>`.
    targets: dict[str, GroupSummary] = {}
    platforms: dict[str, GroupSummary] = {}
    thresholds: dict[str, bool | None] = {}
    #: Sessions that ended ok or failed, by the platform that was asked for and the one that they got.
    got: dict[str, dict[str, int]] = {}
