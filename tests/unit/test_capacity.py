from __future__ import annotations

import pytest

from runner.core.capacity import Saturation, default_slots, may_start

GIB = 1 << 30


@pytest.mark.parametrize(
    ("cores", "memory", "slots"),
    [
        (2, 8 * GIB, 6),
        (1, 2 * GIB, 3),
        (8, 64 * GIB, 24),
        (8, GIB, 3),
        (2, GIB // 4, 1),
        (0, 0, 1),
        (512, 4096 * GIB, 128),
    ],
)
def test_default_slots(cores: int, memory: int, slots: int) -> None:
    assert default_slots(cores, memory) == slots


def feed(saturation: Saturation, *samples: float) -> list[bool]:
    return [saturation.sample(cpu, float(second)) for second, cpu in enumerate(samples)]


def test_saturated_after_two_busy_seconds() -> None:
    assert feed(Saturation(), 0.98, 0.99, 1.0, 1.0) == [False, False, True, True]


def test_a_peak_is_not_saturation() -> None:
    assert feed(Saturation(), 1.0, 1.0, 0.5, 1.0, 1.0) == [False] * 5


def test_hysteresis() -> None:
    assert feed(Saturation(), 1.0, 1.0, 1.0, 0.95, 0.91, 0.89, 0.95) == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_off_above_one() -> None:
    assert not any(feed(Saturation(busy=2.0), *[1.0] * 10))


def test_sessions_that_ran_in_it_are_marked() -> None:
    s = Saturation()
    feed(s, 1.0, 1.0, 1.0, 0.1, 0.1)
    assert s.seen_since(1.0)
    assert s.seen_since(3.0)
    assert not s.seen_since(3.5)
    assert not Saturation().seen_since(0.0)


def test_one_session_is_always_allowed() -> None:
    assert may_start(0, 0, saturated=True)
    assert not may_start(0, 1, saturated=True)
    assert not may_start(1, 0, saturated=True)
    assert may_start(7, 7, saturated=False)
