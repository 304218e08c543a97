from __future__ import annotations

import random

from runner.core.backoff import Backoff
from runner.core.names import runner_id


def test_pauses_double_up_to_a_bound_and_are_jittered() -> None:
    backoff = Backoff(random.Random(1), first=1.0, most=5.0)
    for bound in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert bound / 2 <= backoff.pause() <= bound
    backoff.reset()
    assert 0.5 <= backoff.pause() <= 1.0
    assert 10.0 < backoff.pause(at_least=10.0) <= 12.0


def test_two_runners_do_not_pause_alike() -> None:
    one, other = (Backoff(random.Random(seed)) for seed in (1, 2))
    assert [one.pause() for _ in range(5)] != [other.pause() for _ in range(5)]


def test_runner_ids_fit_into_subjects() -> None:
    rng = random.Random(3)
    assert runner_id("web 1.example.org", rng).startswith("web-1-")
    assert len(runner_id("x" * 200, rng)) == 57
    assert runner_id("ü.b", rng).startswith("runner-")
    assert runner_id("a", rng) != runner_id("a", rng)
