"""The account of one job after the faults: what REST says against what its runners have written down."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from broker_config.job_spec import JobSpec, read_spec
from broker_config.load import SharedSessions, late_limit, peak, span
from broker_config.messages import STATUSES
from broker_config.streams import MAX_DELIVER
from orchestrator.core.plan import session_seed
from tests.support.fault_runner import fails

#: Between the decision to start and the note of it, s.
_SLACK = 0.15
#: A runner that was frozen for longer may have lost its leases; it ends their sessions within so many
#: seconds of waking.
_LEASE_MAY_LAPSE, _WAKING = 1.0, 1.0

#: By runner, from and to on the machine's monotonic clock.
Frozen = Mapping[str, list[tuple[float, float]]]


class Start(NamedTuple):
    """One attempt that a runner began: `begin` and `end` on the machine's monotonic clock. `end` is None
    where the runner did not live to see it."""

    runner: str
    session: int
    attempt: int
    begin: float
    end: float | None
    facts: dict[str, Any]


def read_journals(directory: Path) -> dict[str, list[Start]]:
    """Attempts by job."""
    out: dict[str, list[Start]] = defaultdict(list)
    for path in sorted(directory.glob("*.journal")):
        told: dict[tuple[str, int, int], dict[str, Any]] = {}
        begun: dict[tuple[str, int, int, int], float] = {}
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                event, job, session, attempt, *rest = json.loads(line)
                key = (job, session, attempt)
                if event == "told":
                    told[key] = rest[0]
                elif event == "start":
                    begun[(*key, rest[1])] = rest[0]
                elif (begin := begun.pop((*key, rest[1]), None)) is not None:
                    out[job].append(Start(path.stem, session, attempt, begin, rest[0], told.get(key, {})))
        for (job, session, attempt, _), begin in begun.items():
            facts = told.get((job, session, attempt), {})
            out[job].append(Start(path.stem, session, attempt, begin, None, facts))
    return out


def wrong(
    document: dict[str, Any],
    ordered: Iterable[str],
    job: dict[str, Any],
    rows: list[dict[str, Any]],
    audit: dict[str, Any],
    starts: list[Start],
    frozen: Frozen,
) -> list[str]:
    """All that is not as it must be; `job` is the finished job of its view, `ordered` the commands that
    were carried out, `frozen` when the runners were stopped."""
    spec = read_spec(document)
    found = [
        *_totals(spec, job["counts"], audit),
        *_ends(spec, set(ordered), job),
        *_records(spec, rows, starts),
        *_times(spec, starts),
        *_ceilings(spec, starts, frozen),
    ]
    return [f"{job['id']} ({document['name']}): {words}" for words in found]


def _totals(spec: JobSpec, counts: dict[str, int], audit: dict[str, Any]) -> Iterator[str]:
    ended = sum(counts[k] for k in STATUSES)
    if counts["planned"] != ended:
        yield f"planned is not what ended: {counts}"
    if spec.planned_sessions and counts["planned"] != spec.planned_sessions:
        yield f"planned must be {spec.planned_sessions}: {counts}"
    if counts["lost"]:
        yield f"lost: {counts}"
    if not audit["agrees"]:
        yield f"the auditor differs: {audit['found']} {audit['findings'][:3]}"
    told = {k: counts[k] for k in ("planned", *STATUSES)}
    if any(audit["counts"][k] != n for k, n in told.items()):
        yield f"REST {told}, auditor {audit['counts']}"


def _ends(spec: JobSpec, ordered: set[str], job: dict[str, Any]) -> Iterator[str]:
    """Sessions are cancelled only where somebody, or the load's time, has ended them."""
    counts = job["counts"]
    timed = not isinstance(spec.load, SharedSessions)
    if counts["cancelled"] and not timed and not job["ended_by"]:
        yield f"cancelled, and nobody has ended the job: {counts}"
    allowed = {"", "threshold"} if spec.rules else {""}
    allowed |= {"user"} if "cancel" in ordered else set()
    allowed |= {"max_duration"} if not timed and span(spec.load) else set()
    if job["ended_by"] not in allowed:
        yield f"ended by {job['ended_by']}: {job['reason']}"


def _records(spec: JobSpec, rows: list[dict[str, Any]], starts: list[Start]) -> Iterator[str]:
    made: dict[tuple[int, int], set[str]] = defaultdict(set)
    for s in starts:
        made[s.session, s.attempt].add(s.runner)
    flaky = {t.label for t in spec.targets if t.label == "flaky"}
    for r in rows:
        which = f"session {r['session']}.{r['attempt']}"
        if r["attempt"] > 2 * MAX_DELIVER - 1:
            yield f"{which}: too many attempts"
        if r["status"] not in ("ok", "failed"):
            continue
        # There can be two of an attempt: a broker that is killed forgets the deliveries of its last moments,
        # and counts them anew.
        if r["runner"] not in made[r["session"], r["attempt"]]:
            yield f"{which}: {r['runner']} says so and never ran it; {made[r['session'], r['attempt']]} did"
        bad = r["target"] in flaky and fails(session_seed(spec.seed or 0, r["session"]))
        if (r["status"] == "failed") != bad or (bad and r["error"]["kind"] != "http_status"):
            yield f"{which} is {r['status']}: {r['error']}"
    counted = Counter(r["session"] for r in rows if r["counted"])
    yield from (f"session {s} counts {n} times" for s, n in counted.items() if n != 1)
    ran = {s.session for s in starts}
    for session in sorted(ran - counted.keys()):
        yield f"session {session} ran and counts nowhere: {[s for s in starts if s.session == session]}"


def _times(spec: JobSpec, starts: list[Start]) -> Iterator[str]:
    """Sessions that have a time start within their limit; one is never sent without it."""
    late = late_limit(spec.load)
    for s in starts:
        at, start_at = s.facts.get("at"), s.facts.get("start_at")
        if bool(late) != (start_at is not None):
            yield f"session {s.session}.{s.attempt} was sent with start_at {start_at}"
        elif start_at is not None and not start_at - 0.01 <= at <= start_at + late + _SLACK:
            yield f"session {s.session}.{s.attempt} started {at - start_at:.3f} s after its time"


def _ceilings(spec: JobSpec, starts: list[Start], frozen: Frozen) -> Iterator[str]:
    """Never more sessions at once than there are virtual users, nor shares of the rate than the whole."""
    most_rate, at_once, when = _peaks(starts, frozen)
    if spec.limits.rate is not None:
        if any(s.facts.get("rate") is None for s in starts):
            yield "a session was sent without its share of the rate"
        if most_rate > spec.limits.rate + 1e-6:
            yield f"{most_rate:g} requests a second given away, of {spec.limits.rate:g} (at {when:.2f})"
    if at_once > peak(spec.load):
        near = [s[:5] for s in starts if s.begin <= when and (s.end or when) >= when - 5]
        most = f"{at_once} sessions at once, and there are {peak(spec.load)} virtual users"
        yield f"{most} (at {when:.2f}): {near}"


def _peaks(starts: list[Start], frozen: Frozen) -> tuple[float, int, float]:
    """The highest sum of shares, the most sessions at once, and when. A session that two runners have (one of
    them does not know yet that it was given up) is one."""
    by_session: dict[int, list[Stretch]] = defaultdict(list)
    for s in starts:
        by_session[s.session] += _awake(s, frozen.get(s.runner, []))
    changes: list[tuple[float, float, int]] = []
    for stretches in by_session.values():
        for begin, end, rate in _merged(sorted(stretches)):
            changes += [(begin, rate, 1), (end, -rate, -1)]
    changes.sort(key=lambda c: (c[0], c[2]))
    rate, n, most_rate, most, when = 0.0, 0, 0.0, 0, 0.0
    for at, share, one in changes:
        rate += share
        n += one
        if n > most:
            most, when = n, at
        most_rate = max(most_rate, rate)
    return most_rate, most, when


class Stretch(NamedTuple):
    """Of time in which a session ran, with its share of the rate."""

    begin: float
    end: float
    rate: float


def _awake(s: Start, frozen: list[tuple[float, float]]) -> Iterator[Stretch]:
    """When the attempt could do anything. An attempt whose end nobody wrote down is left out: its share may
    have been given to another after the runner's death. A frozen runner does nothing, its gate passes
    nothing on, and its session may have ended elsewhere before it wakes."""
    if s.end is None:
        return
    rate = s.facts.get("rate") or 0.0
    begin = s.begin
    for stopped, woken in sorted(frozen):
        if woken <= begin or stopped >= s.end:
            continue
        if stopped > begin:
            yield Stretch(begin, stopped, rate)
        begin = woken
        if woken - stopped > _LEASE_MAY_LAPSE and s.end <= woken + _WAKING:
            return
    if begin < s.end:
        yield Stretch(begin, s.end, rate)


def _merged(stretches: list[Stretch]) -> Iterator[Stretch]:
    """Those that overlap as one, with the highest share."""
    open_until, begun, rate = 0.0, 0.0, 0.0
    for s in stretches:
        if s.begin > open_until:
            if open_until:
                yield Stretch(begun, open_until, rate)
            begun, rate = s.begin, 0.0
        open_until = max(open_until, s.end)
        rate = max(rate, s.rate)
    if open_until:
        yield Stretch(begun, open_until, rate)
