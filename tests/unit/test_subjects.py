from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import subjects
from broker_config.errors import NameRefused
from broker_config.streams import DISPATCH, PROGRESS

PAIRS: list[tuple[Callable[..., str], str]] = [
    (lambda a, b: subjects.runner_heartbeat(a), subjects.RUNNER_HEARTBEATS),
    (lambda a, b: subjects.runner_control(a), subjects.RUNNER_CONTROLS),
    (lambda a, b: subjects.job_dispatch(a), subjects.JOB_DISPATCHES),
    (subjects.job_dispatch, subjects.JOB_DISPATCHES),
    (subjects.session_record, subjects.SESSION_RECORDS),
    (lambda a, b: subjects.job_progress(a), subjects.JOB_PROGRESSES),
    (subjects.job_log, subjects.JOB_LOGS),
    (lambda a, b: subjects.job_control(a), subjects.JOB_CONTROLS),
    (lambda a, b: subjects.quarantine(a), subjects.QUARANTINES),
]

tokens = st.text("abcXYZ019_-", min_size=1, max_size=64)


def matches(wildcard: str, subject: str) -> bool:
    """NATS's rule: `*` is one token, `>` one or more at the end."""
    pattern = (
        re.escape(wildcard).replace(r"\*", r"[^.]+").replace(r"\.>", r"(\.[^.]+)+").replace(r"\>", r".+")
    )
    return re.fullmatch(pattern.replace(">", r"[^.]+(\.[^.]+)*"), subject) is not None


@given(tokens, tokens)
def test_what_is_published_is_what_the_wildcard_hears(a: str, b: str) -> None:
    for publish, subscribe in PAIRS:
        assert matches(subscribe, publish(a, b))


def test_wildcards_do_not_hear_each_other() -> None:
    """The aggregate must not land in the stream of records."""
    for i, (publish, _) in enumerate(PAIRS):
        for j, (_, wildcard) in enumerate(PAIRS):
            same = i == j or wildcard == PAIRS[i][1]
            assert matches(wildcard, publish("a", "b")) is same


@given(tokens, tokens)
def test_a_record_subject_is_read_back(job: str, runner: str) -> None:
    assert subjects.parse_session_record(subjects.session_record(job, runner)) == (job, runner)
    assert matches(subjects.session_records_of(job), subjects.session_record(job, runner))
    assert matches(subjects.job_logs_of(job), subjects.job_log(job, runner))


@pytest.mark.parametrize("subject", ["", "job.progress.a", "job.log.a.b", "job.progress.a.b.c"])
def test_another_subject_is_no_record(subject: str) -> None:
    with pytest.raises(NameRefused, match=r"is not job\.progress"):
        subjects.parse_session_record(subject)


@pytest.mark.parametrize(
    "name", ["", "a.b", "*", ">", "a b", "a\n", "\n", "$SYS", "ä", "a" * 65, "a\r\nPUB x 0\r\n", None, 5]
)
@pytest.mark.parametrize(
    "make",
    [
        subjects.runner_heartbeat,
        subjects.runner_control,
        subjects.job_dispatch,
        subjects.job_progress,
        subjects.job_control,
        subjects.dispatch_consumer,
        subjects.session_records_of,
        subjects.job_logs_of,
        subjects.quarantine,
        lambda name: subjects.session_record("j", name),
        lambda name: subjects.session_record(name, "r"),
        lambda name: subjects.job_log("j", name),
    ],
)
def test_no_name_can_become_more_than_one_token(make: Callable[[str], str], name: str) -> None:
    with pytest.raises(NameRefused, match="use 1 to 64 characters"):
        make(name)


@pytest.mark.parametrize("pool", ["a.b", "*", ">", "a b"])
def test_nor_can_a_pool(pool: str) -> None:
    with pytest.raises(NameRefused, match="pool"):
        subjects.job_dispatch("linux-chromium", pool)
    with pytest.raises(NameRefused, match="pool"):
        subjects.dispatch_consumer("linux-chromium", pool)


def test_consumers_of_a_platform_and_its_pools_are_apart() -> None:
    names = {subjects.dispatch_consumer("linux-chromium", pool) for pool in (None, "eu", "us")}
    assert names == {"linux-chromium", "linux-chromium_eu", "linux-chromium_us"}


def test_the_streams_take_what_is_theirs() -> None:
    assert any(matches(s, subjects.job_dispatch("linux-chromium", "eu")) for s in DISPATCH.subjects)
    assert any(matches(s, subjects.session_record("j", subjects.CONDUCTOR)) for s in PROGRESS.subjects)
