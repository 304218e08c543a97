"""A finished job as an honest fleet leaves it: its records, its document, its last checkpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import msgspec

from broker_config import codec
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import read_spec
from broker_config.messages import ConductorRecord, ErrorInfo, Measures, SessionRecord
from broker_config.subjects import CONDUCTOR, session_record
from broker_config.threshold import parse
from orchestrator.core import job_machine, verdict
from orchestrator.core.audit import AuditReport, audit
from orchestrator.core.bitmap import ranges
from orchestrator.core.fold import Fold
from orchestrator.core.plan import Plan
from orchestrator.core.progress import counts, headline

Raw = tuple[int, str, bytes]

SIZE = 240
ID = "j0honest"
SPEC = read_spec(
    {
        "targets": [
            {"url": "http://127.0.0.1:1/", "name": "home", "share": 3},
            {"url": "http://127.0.0.1:1/shop", "name": "shop", "sessions": 60},
            {"url": "http://127.0.0.1:1/pay", "name": "pay"},
        ],
        "sessions": SIZE,
        "platforms": {"linux-chromium": 3, "linux-firefox": 1},
        "thresholds": ["load.p95 < 10s", "error_rate < 50%", "ttfb.max{target=home} < 5s"],
        "seed": 11,
    }
)
T0 = 1_790_000_000.0
FIRST_SEQ = 40


class Case(NamedTuple):
    job: Job
    records: list[Raw]
    checkpoint: Checkpoint

    def audited(self, records: Iterable[Raw] | None = None, claimed: Any = None) -> AuditReport:
        records = self.records if records is None else records
        return audit(self.job.spec, self.job, records, claimed or self.checkpoint)

    def with_job(self, **changes: object) -> Case:
        return self._replace(job=msgspec.structs.replace(self.job, **changes))


def runner_record(plan: Plan, rng: random.Random, session: int, attempt: int, at: float) -> SessionRecord:
    status = rng.choices(["ok", "failed", "cancelled"], [85, 12, 3])[0]
    error = None
    if status == "failed":
        error = ErrorInfo(kind=rng.choice(["http_status", "timeout", "navigation"]))
    load = rng.lognormvariate(6, 0.6)
    took = rng.uniform(0.5, 4)
    return SessionRecord(
        job=plan.job,
        session=session,
        attempt=attempt,
        status=status,  # type: ignore[arg-type]
        runner=rng.choice(["alpha", "beta", "gamma"]),
        target=plan.spec.targets[plan.target(session)].label,
        platform=plan.platform(session),
        started_at=at - took,
        ended_at=at,
        duration_ms=took * 1000,
        error=error,
        saturated=rng.random() < 0.05,
        measures=Measures(
            ttfb=load / 7,
            load=load if status == "ok" else None,
            cls=0.0 if rng.random() < 0.5 else rng.random(),
            bytes=rng.randrange(1, 3_000_000),
            requests=rng.randrange(1, 90),
        ),
    )


def written(seq: int, record: SessionRecord | ConductorRecord) -> Raw:
    writer = record.runner if isinstance(record, SessionRecord) else CONDUCTOR
    return seq, session_record(record.job, writer), codec.encode(record)


def read(raw: Raw) -> SessionRecord | ConductorRecord:
    kind: Any = ConductorRecord if raw[1].endswith(CONDUCTOR) else SessionRecord
    return codec.decode(raw[2], kind)  # type: ignore[no-any-return]


def folded(records: Iterable[Raw], after_seq: int, *, cancelled: bool) -> tuple[Job, Checkpoint]:
    """The job's document and the last checkpoint, as the conductor would write them."""
    plan = Plan(ID, SPEC)
    fold = Fold(plan)
    fold.seq = after_seq
    for raw in records:
        fold.apply(raw[0], read(raw))
    thresholds = [parse(t) for t in SPEC.thresholds]
    job = Job(
        id=ID,
        spec=SPEC,
        state="running",
        submitted_at=T0,
        after_seq=after_seq,
        desired="cancel" if cancelled else "run",
    )
    judged = verdict.judge(thresholds, fold, cancelled=cancelled)
    job = job_machine.move(
        job,
        "finished",
        verdict=judged.verdict,
        reason=judged.reason,
        ended_at=T0 + 100,
        counts=counts(fold),
    )
    checkpoint = fold.checkpoint(7)
    checkpoint.progress = headline(job, fold, seq=7, at=T0 + 100, thresholds=verdict.holds(thresholds, fold))
    # As it comes back from the bucket.
    return job, codec.decode(codec.encode(checkpoint), Checkpoint)


@cache
def honest(seed: int = 1, *, cancelled: bool = True) -> Case:
    """A job with retried and superseded sessions, one that is poison, and ranges that were cancelled."""
    rng = random.Random(seed)
    plan = Plan(ID, SPEC)
    sessions = list(range(1, SIZE + 1))
    rng.shuffle(sessions)
    owed = sorted(sessions[: SIZE // 5]) if cancelled else []
    out: list[SessionRecord | ConductorRecord] = []
    for session in sessions[len(owed) :]:
        at = T0 + len(out) * 0.3
        if session == sessions[-1]:
            error = ErrorInfo(kind="poison", infrastructure=True)
            out.append(
                ConductorRecord(
                    job=ID, sessions=[(session, session)], status="failed", at=at, attempt=3, error=error
                )
            )
            continue
        attempts = rng.choices([[1], [2], [3], [2, 1], [1, 2]], [80, 6, 4, 6, 4])[0]
        out += [runner_record(plan, rng, session, attempt, at) for attempt in attempts]
    if owed:
        half = len(owed) // 2
        for part in (owed[:half], owed[half:]):
            at = T0 + len(out) * 0.3
            out.append(ConductorRecord(job=ID, sessions=ranges(part), status="cancelled", at=at))
        # A runner that had begun one of them after all.
        out.append(runner_record(plan, rng, owed[0], 1, T0 + len(out) * 0.3))
    seq = FIRST_SEQ
    records = []
    for record in out:
        seq += rng.choice([1, 1, 2, 5])  # other jobs' records lie between
        records.append(written(seq, record))
    job, checkpoint = folded(records, FIRST_SEQ, cancelled=cancelled)
    return Case(job, records, checkpoint)


def kinds(report: AuditReport) -> set[str]:
    return {f.kind for f in report.findings if f.is_fault}


def counted(case: Case) -> list[int]:
    """Indices of the runners' records that count."""
    seen: set[int] = set()
    out = []
    for i, raw in enumerate(case.records):
        record = read(raw)
        if isinstance(record, ConductorRecord):
            seen.update(s for a, b in record.sessions for s in range(a, b + 1))
        elif record.session not in seen:
            seen.add(record.session)
            out.append(i)
    return out


def superseded(case: Case) -> list[int]:
    mine = set(counted(case))
    return [i for i in range(len(case.records)) if i not in mine and b'"runner"' in case.records[i][2]]


def by_conductor(case: Case) -> list[int]:
    return [i for i, raw in enumerate(case.records) if raw[1].endswith(CONDUCTOR)]


def changed(raw: Raw, **fields: object) -> Raw:
    return raw[0], raw[1], json.dumps({**json.loads(raw[2]), **fields}).encode()
