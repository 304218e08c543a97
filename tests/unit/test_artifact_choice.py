from __future__ import annotations

from typing import Any

import pytest

from broker_config.artifacts import KINDS, Artifacts
from broker_config.messages import Dispatch
from runner.core.artifact_choice import choose, rank

ALL, CHEAP = set(KINDS), {"screenshot", "har", "console"}


def choice(attempt: int = 1, session: int = 1, seed: int = 7, **artifacts: Any) -> tuple[set[str], bool]:
    wanted = Artifacts(keep=list(KINDS), **artifacts)
    dispatch = Dispatch(
        job="j",
        session=session,
        platform="linux-chromium",
        target="t",
        url="http://localhost/",
        attempt=attempt,
        seed=seed,
        artifacts=wanted,
    )
    chosen = choose(dispatch)
    return set(chosen.kinds), chosen.always


def test_what_costs_much_is_recorded_only_after_a_failure() -> None:
    assert choice() == (CHEAP, False)
    assert choice(attempt=2) == (ALL, False)


def test_always_is_all_of_all() -> None:
    assert choice(when="always") == (ALL, True)


def test_the_share_of_the_sample_is_drawn_and_the_same_everywhere() -> None:
    drawn = [choice(session=n, seed=n * 31, when="sample", sample=0.2)[1] for n in range(1, 2001)]
    assert 330 < sum(drawn) < 470
    assert drawn == [choice(session=n, seed=n * 31, when="sample", sample=0.2)[1] for n in range(1, 2001)]
    n = drawn.index(True) + 1
    assert choice(session=n, seed=n * 31, when="sample", sample=0.2) == (ALL, True)
    n = drawn.index(False) + 1
    assert choice(session=n, seed=n * 31, when="sample", sample=0.2) == (CHEAP, False)
    # A further attempt of a session is in the sample where the first was.
    assert choice(session=n, seed=n * 31, when="sample", sample=0.2, attempt=2) == (ALL, False)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (1.0, 100)])
def test_a_sample_of_none_and_of_all(share: float, kept: int) -> None:
    drawn = [choice(session=n, seed=n, when="sample", sample=share)[1] for n in range(1, 101)]
    assert sum(drawn) == kept


def test_the_share_counts_only_where_a_sample_is_asked_for() -> None:
    assert choice(when="failure", sample=1.0) == (CHEAP, False)


def test_of_what_a_session_records_only_the_right_is_kept() -> None:
    dispatch = Dispatch(job="j", session=1, platform="p", target="t", url="u", artifacts=None)
    assert choose(dispatch).kinds == frozenset()
    failing = choose(
        Dispatch(job="j", session=1, platform="p", target="t", url="u", artifacts=Artifacts(keep=["har"]))
    )
    assert (failing.keeps(failed=True), failing.keeps(failed=False)) == ({"har"}, set())


def test_the_most_telling_comes_first() -> None:
    assert sorted(["video", "trace", "screenshot", "har"], key=rank) == [
        "screenshot",
        "har",
        "trace",
        "video",
    ]
