"""Loads in a job spec: what is wrong with them, and how many sessions they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config.errors import SpecError
from broker_config.job_spec import MAX_SESSIONS, read_spec

EXECUTORS = [
    "shared-sessions",
    "constant-vus",
    "ramping-vus",
    "constant-arrival-rate",
    "ramping-arrival-rate",
]
URL = "http://127.0.0.1:1/"
RATE = {"executor": "constant-arrival-rate", "rate": 2, "duration": "10s"}
USERS = {"executor": "constant-vus", "vus": 2, "duration": "10s"}


def doc(load: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"targets": [{"url": URL}], "load": load, **fields}


def targets(*sessions: int | None) -> list[dict[str, Any]]:
    return [{"url": f"{URL}{i}"} | ({} if n is None else {"sessions": n}) for i, n in enumerate(sessions)]


@pytest.mark.parametrize(
    ("raw", "total", "planned"),
    [
        (doc({"vus": 2}, sessions=7), 7, 7),
        (doc(RATE), 20, 20),
        (doc(RATE, sessions=12), 12, 12),
        (doc(RATE, sessions=90), 20, 20),
        (doc(RATE, targets=targets(3, 4)), 7, 7),
        (doc(RATE, targets=targets(3, None)), 20, 20),
        (doc(USERS), 200, 0),
        (doc(USERS, sessions=50), 50, 0),
        (doc(USERS, targets=targets(3, 4)), 7, 0),
        (doc(USERS, targets=targets(3, None), sessions=10), 10, 0),
        (doc(USERS | {"vus": 10_000, "duration": "7d"}), MAX_SESSIONS, 0),
        (doc({"executor": "ramping-vus", "stages": [{"duration": "3s", "target": 4}]}), 120, 0),
    ],
)
def test_how_many_sessions_there_are(raw: dict[str, Any], total: int, planned: int) -> None:
    spec = read_spec(raw)
    assert (spec.total_sessions, spec.planned_sessions) == (total, planned)


@pytest.mark.parametrize(
    ("raw", "where", "words"),
    [
        (doc({"vus": 2}), "sessions", "is missing; give it, or give targets[0] its own number of sessions"),
        (
            doc(USERS, targets=targets(3, None)),
            "targets[0].sessions",
            "with constant-vus nobody knows how many",
        ),
        (doc(USERS, targets=targets(3, 4), sessions=9), "sessions", "9 differs from the 7 of all targets"),
        (doc(USERS | {"duration": 0}), "load.duration", "lasts 0 s; give it a duration"),
        (doc(USERS | {"duration": "8d"}), "load", "constant-vus for 8 days is too long; at most 7 days"),
        (
            doc({"executor": "ramping-vus", "stages": [{"duration": 0, "target": 3}]}),
            "load.stages",
            "lasts 0 s",
        ),
        (
            doc({"executor": "ramping-vus", "start_vus": 0, "stages": [{"duration": 5, "target": 0}]}),
            "load.stages",
            "there is never a virtual user",
        ),
        (doc(RATE | {"time_unit": 0}), "load.time_unit", "0 is not allowed"),
        (doc(RATE | {"late_limit": "10ms"}), "load.late_limit", "10ms is too short; at least 50ms"),
        (doc(RATE | {"rate": 0.05}), "load", "constant-arrival-rate starts no session at all"),
        (doc(RATE | {"rate": 1e6}), "load", "starts 10000000 sessions; at most 1000000 are allowed"),
        (
            doc(RATE, targets=targets(30)),
            "targets",
            "ask for 30 sessions, and the load starts no more than 20",
        ),
        (
            doc(USERS | {"max_vus": 4}),
            "load.max_vus",
            "belongs to constant-arrival-rate and ramping-arrival-rate, not to constant-vus; change executor",
        ),
        (
            doc({"vus": 3, "stages": [{"duration": "1m", "target": 3}]}, sessions=9),
            "load.stages",
            "belongs to ramping-vus and ramping-arrival-rate, not to shared-sessions; change executor",
        ),
        (doc(USERS | {"max_vsu": 4}), "load.max_vsu", "there is no such field"),
        (
            doc(USERS, data={"name": "user", "rows": [{"a": "1"}], "mode": "unique"}),
            "data.mode",
            "give the job sessions, at most the 1 rows",
        ),
        (
            doc(USERS, sessions=2, data={"name": "user", "rows": [{"a": "1"}], "mode": "unique"}),
            "data.rows",
            "1 rows are too few for 2 sessions",
        ),
        (
            doc(RATE, data={"name": "user", "rows": [{"a": "1"}], "mode": "unique"}),
            "data.rows",
            "1 rows are too few for 20 sessions",
        ),
        (
            doc(RATE, fallback={"linux-firefox": ["linux-chromium"]}),
            "fallback.linux-firefox",
            "does not ask for",
        ),
        (doc(RATE, fallback={"linux-chromium": []}), "fallback.linux-chromium", "is empty"),
        (
            doc(RATE, fallback={"linux-chromium": ["beos-opera"]}),
            "fallback.linux-chromium[0]",
            "'beos-opera' is not",
        ),
        (
            doc(RATE, fallback={"linux-chromium": ["linux-chromium"]}),
            "fallback.linux-chromium[0]",
            "is the platform itself",
        ),
        (
            doc(RATE, fallback={"linux-chromium": ["linux-chrome", "linux-chrome"]}),
            "fallback.linux-chromium[1]",
            "linux-chrome stands there twice",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(raw: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(SpecError) as e:
        read_spec(raw)
    assert [p.where for p in e.value.problems] == [where]
    assert words in e.value.problems[0].what


numbers = st.integers(-2, 3) | st.floats(-1, 1e7) | st.sampled_from(["0s", "1ms", "9d", "x", None])


@settings(deadline=None)
@given(
    st.sampled_from(EXECUTORS),
    st.dictionaries(
        st.sampled_from(
            ["vus", "duration", "rate", "time_unit", "max_vus", "late_limit", "pacing", "start_delay",
             "graceful_stop", "start_rate", "start_vus", "max_duration"]
        ),
        numbers,
    ),
    st.lists(st.fixed_dictionaries({"duration": numbers, "target": numbers}), max_size=3),
    st.none() | st.integers(0, 10),
    st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=3),
)  # fmt: skip
def test_any_load_ends_in_a_spec_or_in_words(
    executor: str, fields: dict[str, Any], stages: list[Any], sessions: int | None, own: list[int | None]
) -> None:
    load = {"executor": executor, **fields} | ({"stages": stages} if "ramping" in executor else {})
    try:
        spec = read_spec(doc(load, sessions=sessions, targets=targets(*own)))
    except SpecError:
        return
    assert 1 <= spec.total_sessions <= MAX_SESSIONS
    assert spec.planned_sessions in (0, spec.total_sessions)
    assert sum(n or 0 for n in own) <= spec.total_sessions


@pytest.mark.parametrize("unit", [1e-320, 1e-308])
def test_a_time_unit_that_makes_the_rate_no_number_is_refused(unit: float) -> None:
    load = RATE | {"rate": 1e6, "time_unit": unit, "duration": unit / 100}
    with pytest.raises(SpecError, match=r"time_unit: .* is too short"):
        read_spec(doc(load))
