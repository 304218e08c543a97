"""Device and row of data of each session are drawn in the plan, so that an attempt is like the one before."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker_config.job_spec import JobSpec, read_spec
from orchestrator.core.plan import Plan
from orchestrator.core.shares import split

NAMES = ["Desktop Chrome", "Pixel 7", "iPhone 15", "iPad Mini"]


def spec(sessions: int = 40, **fields: Any) -> JobSpec:
    targets = [{"url": "http://a.test/", "share": 3}, {"url": "http://b.test/"}]
    return read_spec({"targets": targets, "sessions": sessions, "seed": 4} | fields)


def devices_of(plan: Plan) -> list[str]:
    return [d.label for s in range(1, plan.size + 1) if (d := plan.device(s))]


@given(
    st.integers(1, 300),
    st.lists(st.floats(0.1, 9), min_size=1, max_size=4),
    st.integers(0, 2**53 - 1),
)
def test_each_device_gets_exactly_its_share_everywhere(
    sessions: int, weights: list[float], seed: int
) -> None:
    given_devices = dict(zip(NAMES, weights, strict=False))
    platforms = ["linux-chromium", "linux-firefox"]
    plan = Plan("j", spec(sessions, devices=given_devices, platforms=platforms, seed=seed))
    got = devices_of(plan)
    assert got == devices_of(Plan("other", plan.spec))
    shares = dict(zip(given_devices, split(sessions, list(given_devices.values())), strict=True))
    assert Counter(got) == {k: n for k, n in shares.items() if n}
    # And of each target on each platform about the same share.
    cells = Counter((plan.target(s), plan.platform(s)) for s in range(1, sessions + 1))
    by_cell = Counter((plan.target(s), plan.platform(s), d) for s, d in enumerate(got, 1))
    for (target, platform), n in cells.items():
        for name, m in shares.items():
            assert abs(by_cell[target, platform, name] - n * m / sessions) < 3


def test_devices_change_neither_targets_nor_platforms() -> None:
    plain, other = Plan("j", spec()), Plan("j", spec(devices=NAMES))
    for s in range(1, 41):
        assert (plain.target(s), plain.platform(s)) == (other.target(s), other.platform(s))
    assert plain.device(1) is None
    assert plain.dispatch(1).device is None


def rows_of(mode: str, rows: int, sessions: int = 40, **more: Any) -> tuple[Plan, list[int | None]]:
    data = {"name": "user", "mode": mode, "rows": [{"n": i} for i in range(rows)]}
    plan = Plan("j", spec(sessions, data=data, **more))
    return plan, [plan.row(s) for s in range(1, sessions + 1)]


def test_rows_by_session_begin_again_after_the_last() -> None:
    assert rows_of("session", 7)[1] == [i % 7 for i in range(40)]


def test_each_row_is_unique() -> None:
    assert sorted(map(int, rows_of("unique", 50)[1])) == list(range(40))  # type: ignore[arg-type]


def test_sequential_rows_begin_with_the_first_for_each_target() -> None:
    plan, rows = rows_of("sequential", 7)
    for target in (0, 1):
        mine = [row for s, row in enumerate(rows, 1) if plan.target(s) == target]
        assert mine == [i % 7 for i in range(len(mine))]
        assert mine


def test_random_rows_are_drawn_by_the_seed() -> None:
    _, one = rows_of("random", 5, 500)
    _, again = rows_of("random", 5, 500)
    _, other = rows_of("random", 5, 500, seed=5)
    assert one == again != other
    assert set(one) == set(range(5))
    assert all(70 < n < 130 for n in Counter(one).values())


def test_a_dispatch_carries_its_own_row_and_no_other() -> None:
    step = {"fill": {"css": "a", "value": "${user.n}"}}
    plan, rows = rows_of("sequential", 7, journey={"steps": [step]}, devices=["Pixel 7"])
    for session in (1, 2, 40):
        d = plan.dispatch(session, attempt=2)
        assert d.variables == {"user.n": rows[session - 1]}
        assert d.journey == plan.spec.journey
        assert d.device is not None
        assert d.device.label == "Pixel 7"
        assert d.origins == [o for o in ("http://a.test", "http://b.test") if not d.url.startswith(o)]


def test_a_dispatch_names_the_other_origins_that_the_job_may_open() -> None:
    plan = Plan("j", spec(journey={"steps": [{"goto": "http://b.test/pay"}]}))
    for session in range(1, 41):
        d = plan.dispatch(session)
        assert d.origins == (["http://b.test"] if d.url == "http://a.test/" else ["http://a.test"])
    listed = Plan("j", spec(origins=["http://login.test/"])).dispatch(1)
    assert "http://login.test" in listed.origins
    many = [{"url": f"http://t{i}.test/"} for i in range(60)]
    assert Plan("j", spec(targets=many, origins=["http://login.test/"])).dispatch(1).origins == [
        "http://login.test"
    ]
