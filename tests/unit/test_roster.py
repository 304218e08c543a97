from __future__ import annotations

import msgspec
import pytest

from broker_config.messages import Heartbeat, PlatformOffer, RunnerState, RunningSession
from orchestrator.core import roster as module
from orchestrator.core.roster import FORGOTTEN_AFTER, LOST_AFTER, Roster


def beat(
    runner: str = "a",
    state: RunnerState = "online",
    *,
    instance: str = "1",
    platforms: tuple[str, ...] = ("linux-chromium",),
    slots: int = 4,
    busy: int = 1,
    running: tuple[int, ...] = (),
) -> Heartbeat:
    return Heartbeat(
        runner=runner,
        instance=f"{runner}-{instance}",
        at=0.0,
        state=state,
        slots=slots,
        busy=busy,
        platforms=[PlatformOffer(platform=p) for p in platforms],
        running=[RunningSession(job="j", session=s, attempt=1) for s in running],
    )


def state_of(roster: Roster, runner: str = "a") -> str | None:
    view = roster.get(runner)
    return view.state if view else None


def test_a_heartbeat_tells_what_changed_and_only_that() -> None:
    roster = Roster()
    assert roster.hear(beat(), 10) == ["runner a is online with 4 slots for linux-chromium"]
    assert roster.hear(beat(busy=3), 11) == []
    assert roster.hear(beat(state="paused"), 12) == ["runner a is paused (was online)"]
    assert roster.hear(beat(instance="2"), 13) == ["runner a is online with 4 slots for linux-chromium"]
    assert roster.version == 4


def test_a_silent_runner_is_lost_after_five_seconds_and_online_when_it_speaks() -> None:
    roster = Roster()
    roster.hear(beat(running=(1, 2)), 10)
    assert roster.sweep(10 + LOST_AFTER) == []
    version = roster.version
    (gone,) = roster.sweep(10 + LOST_AFTER + 0.01)
    assert (gone.id, len(gone.running)) == ("a", 2)
    assert state_of(roster) == "lost"
    assert roster.version == version + 1
    assert roster.sweep(20) == []  # told once
    assert roster.hear(beat(), 21) == ["runner a is online (was lost)"]
    assert roster.sweep(22) == []


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_one_that_takes_no_work_is_lost_when_silent_too(state: RunnerState) -> None:
    roster = Roster()
    roster.hear(beat(state=state), 0)
    assert [r.id for r in roster.sweep(6)] == ["a"]


def test_one_that_said_good_bye_is_not_lost() -> None:
    roster = Roster()
    roster.hear(beat(state="offline"), 0)
    assert roster.sweep(1000) == []
    assert state_of(roster) == "offline"


@pytest.mark.parametrize("last", ["offline", "online"])
def test_the_long_gone_are_forgotten(last: RunnerState) -> None:
    roster = Roster()
    roster.hear(beat(state=last), 0)
    roster.sweep(10)
    assert roster.sweep(FORGOTTEN_AFTER) == []
    assert state_of(roster) is not None
    version = roster.version
    roster.sweep(FORGOTTEN_AFTER + 1)
    assert state_of(roster) is None
    assert roster.version == version + 1
    assert roster.sweep(FORGOTTEN_AFTER + 2) == []


def test_what_the_bucket_remembers_is_lost_until_it_speaks() -> None:
    known = Roster()
    known.hear(beat(running=(1,), busy=2), 0)
    known.hear(beat("b", "offline"), 0)
    roster = Roster()
    for view in known.all():
        roster.restore(view)
    assert (state_of(roster), state_of(roster, "b")) == ("lost", "offline")
    remembered = roster.get("a")
    assert remembered is not None
    assert (remembered.busy, remembered.running) == (0, [])
    roster.hear(beat(), 5)
    assert state_of(roster) == "online"
    version = roster.version
    roster.restore(msgspec.structs.replace(remembered, state="lost"))  # old news
    assert (state_of(roster), roster.version) == ("online", version)


def test_platforms_are_those_of_online_runners_with_total_and_free_slots() -> None:
    roster = Roster()
    roster.hear(beat("a", platforms=("linux-chromium", "linux-firefox"), slots=4, busy=1), 0)
    roster.hear(beat("b", slots=2, busy=5), 0)  # busy beyond its slots while it is being made smaller
    roster.hear(beat("c", "paused", platforms=("windows-chrome",)), 0)
    rows = [(p.platform, p.runners, p.slots, p.free) for p in roster.platforms()]
    assert rows == [("linux-chromium", 2, 6, 3), ("linux-firefox", 1, 4, 3)]
    assert [r.id for r in roster.online()] == ["a", "b"]
    roster.sweep(6)
    assert roster.platforms() == []


def test_those_that_are_there_come_first() -> None:
    roster = Roster()
    for id, state in (("d", "offline"), ("c", "online"), ("b", "draining"), ("a", "offline")):
        roster.hear(beat(id, state), 0)  # type: ignore[arg-type]
    assert [r.id for r in roster.all()] == ["b", "c", "a", "d"]


def test_a_process_died_if_it_is_silent_or_replaced_and_said_no_good_bye() -> None:
    roster = Roster()
    assert roster.died("a", "a-1")  # never heard of, or forgotten
    roster.hear(beat(), 0)
    assert not roster.died("a", "a-1")
    assert roster.died("a", "a-0")
    roster.sweep(6)
    assert roster.died("a", "a-1")
    roster.hear(beat(instance="2"), 7)
    assert roster.died("a", "a-1")
    roster.hear(beat(state="offline", instance="2"), 8)
    roster.hear(beat(instance="3"), 9)
    assert not roster.died("a", "a-2")
    assert roster.died("a", "a-1")


def test_memory_of_departures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DEPARTED", 3)
    roster = Roster()
    for i in range(5):
        roster.hear(beat(instance=str(i), state="offline"), i)
    roster.hear(beat(instance="9"), 9)
    assert [roster.died("a", f"a-{i}") for i in range(5)] == [True, True, False, False, False]
