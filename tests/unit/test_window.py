"""The dispatch window: never too much, nobody forgotten, and by priority over time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.window import WINDOW_PER_SLOT, Window, lane_of, places, quantum, slots_by_lane

LANE = "linux-chromium"


class Job:
    """A queue with one lane. `in_flight` counts against its `vus`."""

    def __init__(self, id: str, priority: int = 4, waiting: int = 1_000_000, vus: int = 1_000_000) -> None:
        self.id = id
        self.priority = priority
        self.left = waiting
        self.vus = vus
        self.in_flight = 0

    @property
    def room(self) -> int:
        return max(0, self.vus - self.in_flight)

    def waiting(self, lane: str) -> int:
        return self.left if lane == LANE else 0


def send(window: Window, free: int, jobs: list[Job]) -> Counter[str]:
    sent: Counter[str] = Counter()
    by_id = {j.id: j for j in jobs}
    for id, n in window.fill(LANE, free, jobs):
        assert n > 0
        sent[id] += n
    for id, n in sent.items():
        assert n <= by_id[id].room
        assert n <= by_id[id].left
        by_id[id].left -= n
        by_id[id].in_flight += n
    assert sent.total() <= free
    return sent


jobs_strategy = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 12)), min_size=1, max_size=7
).map(lambda rows: [Job(f"j{i}", *row) for i, row in enumerate(rows)])


@given(jobs_strategy, st.lists(st.integers(0, 30), min_size=1, max_size=15), st.data())
def test_never_above_free_room_or_waiting_and_nothing_free_is_left_unused(
    jobs: list[Job], frees: list[int], data: st.DataObject
) -> None:
    window = Window()
    for free in frees:
        can = sum(min(j.left, j.room) for j in jobs)
        sent = send(window, free, jobs)
        assert sent.total() == min(free, can)
        for job in jobs:  # some end
            job.in_flight -= data.draw(st.integers(0, job.in_flight))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 60))
def test_over_time_shares_follow_priority(priorities: list[int], free: int) -> None:
    window = Window()
    jobs = [Job(f"j{i}", p) for i, p in enumerate(priorities)]
    total: Counter[str] = Counter()
    each_round = sum(map(quantum, priorities))
    while total.total() < 200 * each_round:
        total += send(window, free, jobs)
    whole = total.total()
    for job in jobs:
        due = whole * quantum(job.priority) / each_round
        # At no time further from its due than a round.
        assert abs(total[job.id] - due) <= quantum(job.priority)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.integers(1, 5), st.integers(0, 2**32))
def test_nobody_starves_whoever_else_is_held_back(priorities: list[int], free: int, seed: int) -> None:
    """Jobs come to the cap of their `vus` and leave it again; those that can send always get their turn."""
    rng = random.Random(seed)
    window = Window()
    jobs = [Job(f"j{i}", p) for i, p in enumerate(priorities)]
    steady = rng.choice(jobs)
    a_round = sum(map(quantum, priorities))
    waited = 0
    for _ in range(60):
        for job in jobs:
            job.vus = job.in_flight + (1_000_000 if job is steady or rng.random() < 0.5 else 0)
        sent = send(window, free, jobs)
        waited = 0 if sent[steady.id] else waited + free
        assert waited <= a_round


def test_a_job_at_its_cap_does_not_hold_the_turn_of_the_next() -> None:
    window = Window()
    first, full, last = jobs = [Job("a", 0), Job("b", 0, vus=0), Job("c", 0)]
    total: Counter[str] = Counter()
    for _ in range(100):
        total += send(window, 1, jobs)
    assert total == {first.id: 50, last.id: 50}
    assert full.in_flight == 0


def test_what_one_does_not_use_goes_to_the_others() -> None:
    jobs = [Job("a", 9, waiting=3), Job("b", 0), Job("c", 0, vus=2)]
    assert send(Window(), 20, jobs) == {"a": 3, "b": 15, "c": 2}


def test_credit_is_not_saved_while_a_job_has_nothing_to_send() -> None:
    window = Window()
    idle, busy = jobs = [Job("a", 9, waiting=0), Job("b", 0)]
    for _ in range(50):
        send(window, 4, jobs)
    idle.left = 1_000
    busy_before = busy.in_flight
    send(window, 22, jobs)
    assert busy.in_flight - busy_before >= 2


def test_a_round_that_was_cut_short_goes_on_where_it_was() -> None:
    window = Window()
    jobs = [Job("a", 2), Job("b", 2)]
    assert [window.fill(LANE, 2, jobs) for _ in range(3)] == [
        [("a", 2)],
        [("a", 1), ("b", 1)],
        [("b", 2)],
    ]


def test_lanes_do_not_share_their_turn() -> None:
    class Both(Job):
        def waiting(self, lane: str) -> int:
            return 5

    window = Window()
    jobs: list[Job] = [Both("a", 0), Both("b", 0)]
    assert window.fill("x", 1, jobs) == [("a", 1)]
    assert window.fill("y", 1, jobs) == [("a", 1)]
    assert window.fill("x", 1, jobs) == [("b", 1)]


def test_jobs_that_are_gone_are_forgotten() -> None:
    window = Window()
    window.fill(LANE, 1, [Job("a", 9), Job("b", 0)])
    assert window.fill(LANE, 3, [Job("b", 0)]) == [("b", 1)] * 3
    assert window.fill(LANE, 0, []) == []
    assert window.fill(LANE, 5, []) == []
    # The old credit of `a` is gone too: a new round begins.
    assert Counter(dict(window.fill(LANE, 11, [Job("a", 9), Job("b", 0)]))) == {"a": 10, "b": 1}


@pytest.mark.parametrize(
    ("slots", "dispatched", "free"),
    [(0, 0, 0), (4, 0, 4 * WINDOW_PER_SLOT), (4, 7, 1), (4, 8, 0), (4, 99, 0), (0, 3, 0)],
)
def test_places(slots: int, dispatched: int, free: int) -> None:
    assert WINDOW_PER_SLOT == 2
    assert places(slots, dispatched) == free


def test_lanes_and_their_slots() -> None:
    assert lane_of("linux-chromium", None) == "linux-chromium"
    assert lane_of("linux-chromium", "lab") == "linux-chromium.lab"
    runners = [
        (["linux-chromium", "linux-firefox"], None, 4),
        (["linux-chromium"], None, 2),
        (["linux-chromium"], "lab", 8),
    ]
    assert slots_by_lane(runners) == {"linux-chromium": 6, "linux-firefox": 4, "linux-chromium.lab": 8}
    assert quantum(0) == 1
    assert quantum(9) == 10
