"""What a job would run, by the runners that are online."""

from __future__ import annotations

from typing import Any

from broker_config.api import RunnerView
from broker_config.job_plan import JobPlan, PlannedPlatform
from broker_config.job_spec import read_spec
from broker_config.messages import PlatformOffer
from orchestrator.core.plan import Plan
from orchestrator.core.preview import preview

URLS = [{"url": "http://127.0.0.1/a", "name": "a", "share": 3}, {"url": "http://127.0.0.1/b", "name": "b"}]


def runner(id: str, *platforms: str, slots: int = 4, busy: int = 0, **more: Any) -> RunnerView:
    offers = [PlatformOffer(platform=p) for p in platforms]
    return RunnerView(id=id, state="online", slots=slots, busy=busy, platforms=offers, last_seen=1.0, **more)


def plan(*online: RunnerView, **fields: Any) -> JobPlan:
    return preview(read_spec({"targets": URLS} | fields), online)


def test_sessions_by_target_platform_and_device() -> None:
    found = plan(
        runner("r1", "linux-chromium", "linux-firefox", busy=3),
        runner("r2", "linux-chromium", slots=2),
        sessions=40,
        load={"vus": 5},
        platforms={"linux-chromium": 3, "linux-firefox": 1},
        devices={"Pixel 7": 1, "iPhone 15": 1},
        seed=5,
        name="n",
    )
    assert (found.name, found.executor, found.seed) == ("n", "shared-sessions", 5)
    assert (found.sessions, found.most_sessions) == (40, 40)
    assert found.targets == {"a": 30, "b": 10}
    assert found.platforms == [
        PlannedPlatform(
            platform="linux-chromium", sessions=30, runs_on="linux-chromium", runners=2, slots=6, free=3
        ),
        PlannedPlatform(
            platform="linux-firefox", sessions=10, runs_on="linux-firefox", runners=1, slots=4, free=1
        ),
    ]
    assert found.devices == {"Pixel 7": 20, "iPhone 15": 20}
    # The two runners have six slots together, whatever they offer.
    assert found.at_once == 5
    assert sum(found.minutes) == 40
    assert found.warnings == []
    assert "6 slots online now" in " ".join(found.rests_on)


def test_a_fallback_and_a_platform_that_nobody_has() -> None:
    found = plan(
        runner("r1", "linux-chromium"),
        sessions=9,
        platforms=["windows-msedge", "windows-chrome", "linux-chromium"],
        fallback={"windows-msedge": ["windows-firefox", "linux-chromium"]},
    )
    assert [(p.platform, p.runs_on, p.slots) for p in found.platforms] == [
        ("windows-msedge", "linux-chromium", 4),
        ("windows-chrome", None, 0),
        ("linux-chromium", "linux-chromium", 4),
    ]
    assert found.warnings == [
        "no online runner offers windows-msedge: linux-chromium stands in",
        "no online runner offers windows-chrome: its 3 sessions wait until one comes",
    ]


def test_pools_and_scripts_have_their_own_runners() -> None:
    fleet = [runner("r1", "linux-chromium"), runner("r2", "linux-chromium", slots=2, pool="eu", scripts=True)]
    script = {"source": "async def journey(page, context): ...\n"}
    assert plan(*fleet, sessions=1).platforms[0].slots == 4
    assert plan(*fleet, sessions=1, pool="eu").platforms[0].slots == 2
    assert plan(*fleet, sessions=1, pool="eu", script=script).platforms[0].slots == 2
    (warning,) = plan(*fleet, sessions=1, script=script).warnings
    assert warning.startswith("no online runner offers linux-chromium (with --allow-scripts)")


def test_nobody_is_online() -> None:
    found = plan(sessions=10, load={"vus": 5})
    assert (found.at_once, found.platforms[0].runs_on) == (5, None)
    assert "as many slots as it asks for are assumed" in " ".join(found.rests_on)


def test_more_users_than_slots_are_told() -> None:
    (warning,) = plan(runner("r1", "linux-chromium"), sessions=10, load={"vus": 9}).warnings
    assert warning == "9 virtual users, but 4 slots are online: no more sessions run at once"
    load = {"executor": "constant-arrival-rate", "rate": 10, "duration": "10s", "max_vus": 3}
    (warning,) = plan(runner("r1", "linux-chromium"), load=load).warnings
    assert "max_vus is 3: some will be late or dropped" in warning
    (warning,) = plan(runner("r1", "linux-chromium"), load=load | {"max_vus": 99}).warnings
    assert "4 slots are online: some will be late or dropped" in warning
    (warning,) = plan(runner("r1", "linux-chromium"), sessions=1, limits={"rate": 5}).warnings
    assert warning.startswith("limits.rate (5 requests a second) can make it slower")


def test_as_many_as_there_will_be_about() -> None:
    load = {"executor": "constant-vus", "vus": 2, "duration": "60s", "pacing": "6s"}
    found = plan(runner("r1", "linux-chromium"), load=load, devices=["Pixel 7"])
    spec = read_spec({"targets": URLS, "load": load})
    assert (found.sessions, found.most_sessions) == (20, spec.total_sessions)
    assert spec.total_sessions > 20
    assert found.minutes == [20]
    assert sum(found.targets.values()) == sum(p.sessions for p in found.platforms) == 20
    assert found.devices == {"Pixel 7": 20}
    by_plan = [spec.targets[Plan("x", spec).target(s)].label for s in range(1, 21)]
    assert found.targets == {label: by_plan.count(label) for label in ("a", "b")}
