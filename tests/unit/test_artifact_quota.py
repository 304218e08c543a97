from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker_config.artifacts import ArtifactInfo, Artifacts
from orchestrator.core.artifact_quota import Quota, grant


def items(*sizes: int) -> list[ArtifactInfo]:
    return [ArtifactInfo(name=f"j/1.1/{n}", kind="har", bytes=size) for n, size in enumerate(sizes)]


def test_the_number_is_bounded() -> None:
    used, granted, reason = grant(Quota(count=3), items(10, 10, 10), Artifacts(max_count=5))
    assert (used, [i.name for i in granted]) == (Quota(count=5, bytes=20), ["j/1.1/0", "j/1.1/1"])
    assert reason == "the job keeps at most 5 artifacts (max_count)"


def test_a_smaller_one_may_have_room_after_one_that_has_not() -> None:
    used, granted, reason = grant(Quota(bytes=60), items(30, 50, 10), Artifacts(max_bytes=100))
    assert (used, [i.bytes for i in granted]) == (Quota(count=2, bytes=100), [30, 10])
    assert "100 bytes" in reason


def test_nothing_is_said_where_all_have_room() -> None:
    assert grant(Quota(), items(1), Artifacts())[2] == ""


@given(
    st.lists(st.lists(st.integers(0, 100), max_size=6), max_size=20), st.integers(1, 30), st.integers(1, 500)
)
def test_whatever_is_asked_for_the_bounds_hold(
    asked: list[list[int]], max_count: int, max_bytes: int
) -> None:
    used, stored = Quota(), []
    for sizes in asked:
        used, granted, _ = grant(used, items(*sizes), Artifacts(max_count=max_count, max_bytes=max_bytes))
        stored += granted
    assert used == Quota(count=len(stored), bytes=sum(i.bytes for i in stored))
    assert len(stored) <= max_count
    assert used.bytes <= max_bytes
