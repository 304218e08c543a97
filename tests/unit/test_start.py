"""When a session with a time of its own starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.start import MOST_AHEAD, error_ms, pause

T0 = 1_790_000_000.0


@pytest.mark.parametrize(
    ("start_at", "waits"),
    [
        (None, 0.0),
        (T0, 0.0),
        (T0 + 1.5, 1.5),
        (T0 - 1.5, 0.0),
        (T0 - 2, 0.0),
        (T0 - 2.001, None),
        (T0 + MOST_AHEAD, MOST_AHEAD),
        (T0 + MOST_AHEAD + 1, 0.0),  # the clocks are not in step
    ],
)
def test_it_waits_starts_or_is_too_late(start_at: float | None, waits: float | None) -> None:
    assert pause(start_at, 2.0, T0) == waits


@pytest.mark.parametrize(("start_at", "error"), [(None, None), (T0 - 0.25, 250), (T0, 0), (T0 + 60, None)])
def test_the_error_is_what_it_came_too_late(start_at: float | None, error: float | None) -> None:
    assert error_ms(start_at, T0) == error


@given(st.floats(-20, 20), st.floats(0, 10))
def test_who_has_waited_starts(ahead: float, limit: float) -> None:
    wait = pause(T0 + ahead, limit, T0)
    if wait:
        assert pause(T0 + ahead, limit, T0 + ahead) == 0.0
    assert wait is None or 0 <= wait <= MOST_AHEAD
