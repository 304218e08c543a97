"""A job as the bucket `jobs` keeps it: the document under `<id>`, the fold's checkpoint under
`<id>.checkpoint`.

Both are written with compare-and-set on their revision.
"""

from __future__ import annotations

import zlib
from typing import Literal

import msgspec

from . import codec
from .errors import MessageError
from .job_spec import JobSpec
from .messages.progress import Counts, JobProgress, JobState, Verdict
from .people import DEFAULT_PROJECT
from .sketch import Sketch

#: What users want of the job; the conductor brings `state` there.
Desired = Literal["run", "pause", "cancel"]
#: What ended a job before its sessions had run; empty where nothing did.
EndedBy = Literal["", "user", "max_duration", "threshold", "kill", "targets"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The document. `spec` is as submitted, with its seed filled in and without credentials of proxies."""

    id: str
    spec: JobSpec
    state: JobState
    submitted_at: float
    desired: Desired = "run"
    source: str = "api"
    idempotency_key: str | None = None
    #: The job whose failed sessions this one runs again.
    retry_of: str | None = None
    #: How often it was resumed: part of the message ids of sessions dispatched after that.
    generation: int = 0
    waiting_for: list[str] = []
    started_at: float | None = None
    ended_at: float | None = None
    verdict: Verdict | None = None
    reason: str = ""
    #: By whom or what `desired` became `cancel`.
    ended_by: EndedBy = ""
    #: Final counts; zeros while the job runs (the live ones are in the checkpoint).
    counts: Counts = Counts()
    #: Last sequence of the stream PROGRESS when the job was stored: its records come after it.
    after_seq: int = 0
    project: str = DEFAULT_PROJECT
    #: Name of the user, or of the token's owner, who submitted it.
    submitted_by: str = ""
    #: Who took it on had read the bucket `kills` up to this revision.
    kills: int = 0


def job_key(job: str) -> str:
    return job


def checkpoint_key(job: str) -> str:
    return f"{job}.checkpoint"


class Cell(msgspec.Struct, omit_defaults=True):
    """Counts and sketches of a group of sessions: all of a job, one target, one platform.

    Where the load knows the number of sessions only at the end, `planned` is what has ended so far.
    """

    planned: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    dropped: int = 0
    saturated: int = 0
    retried: int = 0
    #: Failed sessions whose cause lies with runner, browser or egress, not with the site.
    faults: int = 0
    #: Sessions that started more than 100 ms after their time.
    late: int = 0
    metrics: dict[str, Sketch] = {}


class ErrorExample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One session that ended in an error; `target` and `runner` are empty where the conductor wrote it."""

    session: int
    target: str = ""
    platform: str = ""
    runner: str = ""
    detail: str = ""


class StepCell(msgspec.Struct, omit_defaults=True):
    """One step of a journey over all sessions; `time` in ms, of those that succeeded."""

    ok: int = 0
    failed: int = 0
    time: Sketch = msgspec.field(default_factory=Sketch)


class TimeBucket(msgspec.Struct, omit_defaults=True, array_like=True):
    """Sessions that ended within one stretch of time; `load_*` in ms."""

    ok: int = 0
    failed: int = 0
    other: int = 0
    load_count: int = 0
    load_sum: float = 0.0
    load_max: float = 0.0


class Timeline(msgspec.Struct, omit_defaults=True):
    """At most `MAX_TIME_BUCKETS` stretches of `width_s`; when full, neighbours merge, the width doubles."""

    start: float = 0.0
    width_s: float = 1.0
    buckets: list[TimeBucket] = []


MAX_TIME_BUCKETS = 600
#: The broker takes messages of 1 MiB.
MAX_CHECKPOINT_BYTES = 1_000_000
_MAX_UNPACKED = 64 << 20


class Checkpoint(msgspec.Struct):
    """The fold's whole state after the record `seq` of the stream PROGRESS.

    `done` is a bitmap: bit `session - 1` is set when the session has its counted terminal record.
    """

    job: str
    seq: int = 0
    progress_seq: int = 0
    done: bytes = b""
    total: Cell = msgspec.field(default_factory=Cell)
    targets: dict[str, Cell] = {}
    platforms: dict[str, Cell] = {}
    timeline: Timeline = msgspec.field(default_factory=Timeline)
    errors: dict[str, int] = {}
    superseded: int = 0
    #: `(stream sequence, session)` of superseded records, the newest 1,000.
    superseded_records: list[tuple[int, int]] = []
    #: By name, in the order in which they first came.
    steps: dict[str, StepCell] = {}
    #: The metrics of all sessions but those that ran while their machine was saturated; empty while there are
    #: none of these.
    calm: dict[str, Sketch] = {}
    #: The first sessions of each kind of error.
    examples: dict[str, list[ErrorExample]] = {}
    #: Requests that the egress gate refused, and those to third parties, by origin; how many sessions went
    #: through each proxy.
    refused: dict[str, int] = {}
    third_parties: dict[str, int] = {}
    upstreams: dict[str, int] = {}
    #: Sessions that ended ok or failed, by the platform that was asked for and the one that they got.
    got: dict[str, dict[str, int]] = {}
    #: The highest number of a session that was sent, by the platform that was asked for.
    sent: dict[str, int] = {}
    #: The newest progress that was published, for those who attach late.
    progress: JobProgress | None = None


def packed(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as it is written: some hundred sketches must fit into one message."""
    replace = msgspec.structs.replace

    def cell(c: Cell) -> Cell:
        return replace(c, metrics=sketches(c.metrics))

    def sketches(metrics: dict[str, Sketch]) -> dict[str, Sketch]:
        return {name: sketch.packed() for name, sketch in metrics.items()}

    return replace(
        checkpoint,
        total=cell(checkpoint.total),
        targets={name: cell(c) for name, c in checkpoint.targets.items()},
        platforms={name: cell(c) for name, c in checkpoint.platforms.items()},
        steps={name: replace(s, time=s.time.packed()) for name, s in checkpoint.steps.items()},
        calm=sketches(checkpoint.calm),
    )


def write_checkpoint(checkpoint: Checkpoint) -> bytes:
    """At most `MAX_CHECKPOINT_BYTES`, whatever was measured: a large one is compressed; of one that is too
    large even so, the groups lose their metrics, and its job as a whole keeps them."""
    small = packed(checkpoint)
    data = _squeezed(small)
    if len(data) > MAX_CHECKPOINT_BYTES:
        targets, platforms = (
            {name: msgspec.structs.replace(c, metrics={}) for name, c in cells.items()}
            for cells in (small.targets, small.platforms)
        )
        data = _squeezed(msgspec.structs.replace(small, targets=targets, platforms=platforms))
    return data


def read_checkpoint(data: bytes) -> Checkpoint:
    """Raises `MessageError`."""
    if data.startswith(b"{"):
        return codec.decode(data, Checkpoint)
    try:
        data = zlib.decompressobj().decompress(data, _MAX_UNPACKED)
    except zlib.error as e:
        raise MessageError(f"not a readable Checkpoint: {e}") from None
    return codec.decode(data, Checkpoint, _MAX_UNPACKED)


def _squeezed(checkpoint: Checkpoint) -> bytes:
    data = codec.encode(checkpoint)
    return data if len(data) <= MAX_CHECKPOINT_BYTES else zlib.compress(data, 1)
