"""The plan is a pure function of the spec: whoever takes over a job makes the very same one."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker_config.job_spec import JobSpec, read_spec
from broker_config.platform import PLATFORMS
from orchestrator.core.plan import Plan, session_seed
from orchestrator.core.shares import split

GOLDEN = "398903290b0609929251e525ee89dcb1136304a52d8d813f9ad684da6b92b12c"
GOLDEN_HEAD = "1w0l0l2l2l1w1w1l0w1l0m0l"
GOLDEN_SEEDS = [215094912789094, 166077741481255, 62611577523831]
GOLDEN_SEED_MAX = 270145803550231


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    """Targets with fixed numbers and with shares, over one or more platforms."""
    targets: list[dict[str, Any]] = []
    for i in range(draw(st.integers(1, 6))):
        target: dict[str, Any] = {"url": f"http://127.0.0.1:1/{i}", "name": f"t{i}"}
        if draw(st.booleans()):
            target["sessions"] = draw(st.integers(0, 40))
        else:
            target["share"] = draw(st.floats(0.1, 20))
        targets.append(target)
    fixed = sum(t.get("sessions", 0) for t in targets)
    document: dict[str, Any] = {"targets": targets, "seed": draw(st.integers(0, 2**53 - 1))}
    if any("share" in t for t in targets):
        document["sessions"] = fixed + draw(st.integers(1, 200))
    else:
        assume(fixed)
    names = draw(st.lists(st.sampled_from(PLATFORMS), min_size=1, max_size=4, unique=True))
    if draw(st.booleans()):
        document["platforms"] = {n: draw(st.floats(0.1, 9)) for n in names}
    else:
        document["platforms"] = names
    return read_spec(document)


def pairs(plan: Plan) -> list[tuple[int, str]]:
    return [(plan.target(s), plan.platform(s)) for s in range(1, plan.size + 1)]


@given(specs())
def test_each_target_and_platform_gets_exactly_its_number(spec: JobSpec) -> None:
    plan = Plan("j", spec)
    assert plan.size == spec.total_sessions
    got = Counter(pairs(plan))
    assert got.total() == plan.size
    fixed = sum(t.sessions or 0 for t in spec.targets)
    shares = [t.share for t in spec.targets if t.sessions is None]
    open_counts = iter(split(plan.size - fixed, shares) if shares else [])
    by_target = [t.sessions if t.sessions is not None else next(open_counts) for t in spec.targets]
    by_platform = split(plan.size, list(spec.platform_weights.values()))
    for i, n in enumerate(by_target):
        assert sum(c for (t, _), c in got.items() if t == i) == n
    for p, n in zip(spec.platform_weights, by_platform, strict=True):
        assert sum(c for (_, q), c in got.items() if q == p) == n
    assert plan.planned_by_target() == {t.label: n for t, n in zip(spec.targets, by_target, strict=True)}
    assert plan.planned_by_platform() == dict(zip(spec.platform_weights, by_platform, strict=True))


@given(specs())
def test_each_target_gets_about_its_share_of_each_platform(spec: JobSpec) -> None:
    plan = Plan("j", spec)
    got = Counter(pairs(plan))
    targets, platforms = plan.planned_by_target(), plan.planned_by_platform()
    for i, n in enumerate(targets.values()):
        for p, m in platforms.items():
            # Within a few sessions, whatever the size: not within what chance would give.
            assert abs(got[i, p] - n * m / plan.size) < 3


@given(specs())
def test_the_same_spec_gives_the_same_plan(spec: JobSpec) -> None:
    assert pairs(Plan("a", spec)) == pairs(Plan("b", spec))


@given(specs())
def test_sessions_by_platform_holds_each_session_once_in_order(spec: JobSpec) -> None:
    plan = Plan("j", spec)
    by_platform = plan.sessions_by_platform()
    assert list(by_platform) == plan.platforms
    for platform, sessions in by_platform.items():
        assert list(sessions) == sorted(sessions)
        assert all(plan.platform(s) == platform for s in sessions)
    assert sorted(s for sessions in by_platform.values() for s in sessions) == list(range(1, plan.size + 1))


def golden() -> Plan:
    return Plan(
        "j",
        read_spec(
            {
                "targets": [
                    {"url": "http://127.0.0.1:1/a", "share": 2},
                    {"url": "http://127.0.0.1:1/b", "share": 0.7},
                    {"url": "http://127.0.0.1:1/c", "sessions": 123},
                ],
                "sessions": 1_000,
                "platforms": {"linux-chromium": 5, "windows-msedge": 2, "macos-webkit": 1.3},
                "seed": 20_260_101,
            }
        ),
    )


def test_the_golden_plan_is_what_it_always_was() -> None:
    """A change here means that jobs in flight change under a new version: sessions would move between
    targets and platforms. Do not adapt the hash; keep the old plan for the old jobs."""
    plan = golden()
    text = "".join(f"{t}{p[0]}" for t, p in pairs(plan))
    assert text[:24] == GOLDEN_HEAD
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN


def test_the_golden_session_seeds_are_what_they_always_were() -> None:
    assert [session_seed(7, s) for s in (1, 2, 1_000_000)] == GOLDEN_SEEDS
    assert session_seed(2**53 - 1, 1) == GOLDEN_SEED_MAX


def test_another_seed_gives_another_order_and_the_same_numbers() -> None:
    targets = [{"url": "http://127.0.0.1:1/"}, {"url": "http://127.0.0.1:2/"}]
    one, other = (Plan("j", read_spec({"targets": targets, "sessions": 50, "seed": s})) for s in (1, 2))
    assert pairs(one) != pairs(other)
    assert Counter(pairs(one)) == Counter(pairs(other))


def test_targets_are_mixed_from_the_start() -> None:
    """Neither the first nor the last target has the start of the job to itself."""
    head = Counter(t for t, _ in pairs(golden())[:100])
    assert len(head) == 3
    assert head[0] < 85


@given(st.integers(0, 2**53), st.integers(0, 2**53), st.integers(1, 10**6), st.integers(1, 10**6))
def test_session_seeds_differ_between_sessions_and_jobs(a: int, b: int, s: int, t: int) -> None:
    assert (session_seed(a, s) == session_seed(b, t)) == ((a, s) == (b, t))
    assert 0 <= session_seed(a, s) < 2**48


def test_a_dispatch_says_all_that_the_runner_needs() -> None:
    spec = read_spec(
        {
            "targets": [{"url": "http://127.0.0.1:1/x", "name": "x"}],
            "sessions": 3,
            "pool": "lab",
            "retries": 2,
            "seed": 5,
            "behaviour": {"dwell": "1s-2s"},
            "limits": {"session": "9s"},
        }
    )
    d = Plan("job1", spec).dispatch(2, attempt=4, generation=1)
    assert (d.job, d.session, d.attempt, d.generation, d.pool, d.retries) == ("job1", 2, 4, 1, "lab", 2)
    assert (d.target, d.url, d.platform) == ("x", "http://127.0.0.1:1/x", "linux-chromium")
    assert (d.behaviour, d.limits) == (spec.behaviour, spec.limits)
    assert d.seed == session_seed(5, 2)
    assert d.message_id == "job1.2.4.1"


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**53 - 1))
def test_a_large_plan_stays_balanced(seed: int) -> None:
    spec = read_spec(
        {
            "targets": [{"url": f"http://127.0.0.1:1/{i}", "share": i + 1} for i in range(20)],
            "sessions": 20_000,
            "platforms": {"linux-chromium": 7, "linux-firefox": 2, "windows-chrome": 1},
            "seed": seed,
        }
    )
    plan = Plan("j", spec)
    got = Counter(pairs(plan))
    for i, n in enumerate(plan.planned_by_target().values()):
        for p, m in plan.planned_by_platform().items():
            assert abs(got[i, p] - n * m / plan.size) < 3
