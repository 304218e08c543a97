"""A finished job of which there is something to say in every part of a report."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from broker_config import codec
from broker_config.api import SessionRow
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import read_spec
from broker_config.messages import ConductorRecord, ErrorInfo, Measures, SessionRecord, StepRecord
from broker_config.report import Report
from broker_config.streams import MAX_DELIVER
from broker_config.subjects import CONDUCTOR, session_record
from broker_config.threshold import parse
from orchestrator.core import verdict
from orchestrator.core.fold import Fold
from orchestrator.core.plan import Plan
from orchestrator.core.progress import counts, headline
from orchestrator.core.report.data import make_report

T0 = 1_790_000_000.0
#: What a user or a site may call things.
HOSTILE = """</title><script>alert(1)</script><img src="http://127.0.0.1:9/x" onerror=alert(2)>&'"]]>"""
SECRET = "open-sesame"
ID = "j0rich"

SPEC: dict[str, Any] = {
    "name": "Checkout of the shop",
    "targets": [
        {"url": "http://127.0.0.1:8080/", "name": "home", "share": 4},
        {"url": "http://127.0.0.1:8080/catalogue?sort=price&page=2", "name": "catalogue", "share": 3},
        {"url": "http://127.0.0.1:8080/cart", "name": "cart", "share": 2},
        {"url": "http://127.0.0.1:8080/account/orders/2026/with/a/rather/long/path/that/goes/on/and/on"},
    ],
    "platforms": {"linux-chromium": 6, "linux-firefox": 3, "windows-msedge": 1},
    "fallback": {"windows-msedge": ["linux-chromium"]},
    "load": {
        "executor": "constant-arrival-rate",
        "rate": 5,
        "duration": "4m",
        "max_vus": 50,
    },
    "journey": {
        "steps": [
            {"goto": "/cart"},
            {"fill": {"label": "Password", "value": SECRET}},
            {"fill": {"label": "Email", "value": "${user.email}"}},
            {"click": {"role": "button", "name": "Pay"}, "name": "pay"},
            {"expect": {"text": "Thank you"}, "name": "thanks"},
            {"expect": {"title": "Shop"}},
        ]
    },
    "data": {"name": "user", "rows": [{"email": f"{SECRET}@example.org"}]},
    "egress": {"proxies": [f"127.0.0.1:3128:me:{SECRET}"]},
    "thresholds": [
        "error_rate < 2%",
        "load.p95 < 2500ms",
        {"threshold": "lcp.p75{target=home} < 2s", "abort_on_fail": True, "delay": "30s", "window": "1m"},
        'step["pay"].p90 < 4s',
        "inp.p75 < 200ms",
        "start_error.p99 < 500ms",
    ],
    "tags": {"branch": "main"},
    "seed": 5,
}


class Rich(NamedTuple):
    job: Job
    checkpoint: Checkpoint
    rows: list[SessionRow]
    #: `(sequence, subject, data)`, as the stream has them.
    records: list[tuple[int, str, bytes]]

    @property
    def report(self) -> Report:
        return make_report(self.job, self.checkpoint, made_at=T0 + 400, version="1.2.3")


def rich(*, calm: bool = False, running: bool = False, lost: int = 0, **spec: Any) -> Rich:
    """`calm`: no session ran in saturation. `running`: it is half done. `lost`: so many sessions were."""
    parsed = read_spec(SPEC | spec)
    plan = Plan(ID, parsed)
    fold = Fold(plan)
    rng = random.Random(3)
    rows: list[SessionRow] = []
    records: list[SessionRecord | ConductorRecord] = []
    size = plan.size - 20 - lost
    for session in range(1, size // 2 if running else size + 1):
        at = T0 + session * 240 / size + rng.random()
        record = _record(plan, rng, session, at, 0 if calm else 0.04)
        records.append(record)
        rows.append(_row(record, session))
    if not running:
        records.append(_owed("dropped", size + 1, size + 20))
    if lost:
        records.append(_owed("lost", size + 21, plan.size))
    for seq, record in enumerate(records, 1):
        fold.apply(seq, record)
    thresholds = [parse(t) for t in parsed.expressions]
    judged = verdict.judge(thresholds, fold, cancelled=False)
    job = Job(
        id=ID,
        spec=parsed,
        state="running" if running else "finished",
        submitted_at=T0 - 2,
        started_at=T0,
        ended_at=None if running else T0 + 243,
        verdict=None if running else judged.verdict,
        reason="" if running else judged.reason,
        counts=counts(fold),
    )
    checkpoint = fold.checkpoint(9)
    checkpoint.progress = headline(
        job,
        fold,
        seq=9,
        at=T0 + 243,
        running=7 if running else 0,
        thresholds=verdict.holds(thresholds, fold),
    )
    raw = [
        (seq, session_record(ID, r.runner if isinstance(r, SessionRecord) else CONDUCTOR), codec.encode(r))
        for seq, r in enumerate(records, 1)
    ]
    return Rich(job, codec.decode(codec.encode(checkpoint), Checkpoint), rows, raw)


def _owed(status: Any, first: int, last: int) -> ConductorRecord:
    error = ErrorInfo(kind="lost", detail="no runner reported it in 5 attempts", infrastructure=True)
    return ConductorRecord(
        job=ID,
        sessions=[(first, last)],
        status=status,
        at=T0 + 241,
        attempt=MAX_DELIVER,
        error=error if status == "lost" else None,
    )


def _record(plan: Plan, rng: random.Random, session: int, at: float, saturated: float) -> SessionRecord:
    asked = plan.platform(session)
    got = "linux-chromium" if asked == "windows-msedge" else asked
    busy = rng.random() < saturated
    slow = (1.9 if got == "linux-firefox" else 1.0) * (3 if busy else 1) * (2 if 110 < at - T0 < 140 else 1)
    load = rng.lognormvariate(6.2, 0.45) * slow
    kind, detail, infrastructure = rng.choice(
        [
            ("http_status", f"the page answered 503 Service Unavailable to {HOSTILE}", False),
            ("step", "step 5, thanks: expected text “Thank you” within 10 s; it was not there", False),
            ("timeout", "the page did not load within 30 s", False),
            ("proxy", "127.0.0.1:3128 refused the connection", True),
        ]
    )
    failed = rng.random() < (0.12 if 110 < at - T0 < 140 else 0.01)
    steps = [
        StepRecord(name="goto /cart", ms=load),
        StepRecord(name="pay", ms=load * 0.7),
        StepRecord(name="thanks", ms=load * 0.2, ok=not failed, error="not there" if failed else ""),
    ]
    return SessionRecord(
        job=plan.job,
        session=session,
        attempt=2 if rng.random() < 0.02 else 1,
        status="failed" if failed else "ok",
        runner=rng.choice(["berlin-1", "berlin-2", "oslo-1"]),
        target=plan.spec.targets[plan.target(session)].label,
        platform=got,
        asked=asked,
        started_at=at - load / 400,
        ended_at=at,
        duration_ms=load * 2.5,
        error=ErrorInfo(kind=kind, detail=detail, infrastructure=infrastructure) if failed else None,
        saturated=busy,
        measures=Measures(
            http_status=503 if failed and kind == "http_status" else 200,
            ttfb=load * 0.12,
            fcp=load * 0.5,
            lcp=load * 0.8,
            dcl=load * 0.7,
            load=load,
            inp=rng.lognormvariate(3.5, 0.5),
            cls=0.0 if rng.random() < 0.6 else rng.random() * 0.2,
            bytes=rng.randrange(150_000, 900_000),
            requests=rng.randrange(12, 60),
            failed_requests=int(failed),
            console_errors=int(rng.random() < 0.05),
        ),
        steps=steps[: 1 + session % 3 * 2],
        start_error_ms=rng.expovariate(1 / 12) + (150 if busy else 0),
        upstreams=["127.0.0.1:3128"],
        refused={"https://tracker.example": 2} if session % 40 == 0 else {},
        third_parties={"https://fonts.example": 3, "https://cdn.example": 1} if session % 2 else {},
    )


def _row(r: SessionRecord, seq: int) -> SessionRow:
    same = {f: getattr(r, f) for f in SessionRow.__struct_fields__ if hasattr(r, f)}
    return SessionRow(**same, counted=True, seq=seq)


def hostile() -> Rich:
    """The same, with names that try to be markup or formulas."""
    name = HOSTILE[:64]
    return rich(
        name=name,
        targets=[
            {"url": "http://127.0.0.1:8080/", "name": HOSTILE[8:72]},
            {"url": "http://127.0.0.1:8080/b", "name": '=HYPERLINK("http://x")'},
        ],
        sessions=300,
        load={"executor": "shared-sessions", "vus": 4},
        journey={"steps": [{"goto": "/"}, {"expect": {"text": HOSTILE}, "name": "thanks"}]},
        thresholds=["error_rate < 2%"],
        tags={name: "\x00\x07" + HOSTILE},
    )


def pages_of(rows: list[SessionRow], many: int = 100) -> Iterator[list[SessionRow]]:
    for i in range(0, len(rows), many):
        yield rows[i : i + many]


def with_job(case: Rich, **changes: object) -> Rich:
    return case._replace(job=msgspec.structs.replace(case.job, **changes))
