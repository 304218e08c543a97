from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.messages import Counts, JobProgress
from orchestrator.core.outbox import Outbox
from orchestrator.core.standing import standing
from orchestrator.core.tail import Tail


def drain(outbox: Outbox[bytes]) -> list[bytes]:
    out = []
    while outbox:
        out.append(outbox.take())
    return out


def test_only_the_newest_state_of_each_key_waits_and_keeps_its_turn():
    outbox: Outbox[bytes] = Outbox()
    for n in range(100):
        outbox.state("a", b"a%d" % n)
        if n == 50:
            outbox.state("b", b"b")
    assert outbox.size == len(b"a99b")
    assert drain(outbox) == [b"a99", b"b"]
    assert outbox.size == 0


def test_answers_come_first_in_order_and_none_is_left_out():
    outbox: Outbox[bytes] = Outbox()
    outbox.state("a", b"state")
    outbox.answer(b"1")
    outbox.answer(b"2")
    assert drain(outbox) == [b"1", b"2", b"state"]


def test_a_forgotten_state_is_not_sent():
    outbox: Outbox[bytes] = Outbox()
    outbox.state("a", b"state")
    outbox.forget("a")
    outbox.forget("never there")
    assert not outbox
    assert outbox.size == 0


def test_logs_are_counted_by_job_and_told_once():
    outbox: Outbox[bytes] = Outbox()
    for job in ("a", "b", "a"):
        outbox.leave_out(job)
    assert outbox.take_left_out() == {"a": 2, "b": 1}
    assert outbox.take_left_out() == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["answer", "state", "take", "forget"]), st.sampled_from("abc"))))
def test_the_size_is_that_of_what_waits(steps):
    outbox: Outbox[bytes] = Outbox()
    for n, (what, key) in enumerate(steps):
        if what == "answer":
            outbox.answer(b"x" * n)
        elif what == "state":
            outbox.state(key, b"x" * n)
        elif what == "forget":
            outbox.forget(key)
        elif outbox:
            outbox.take()
    size = outbox.size
    assert size == sum(map(len, drain(outbox)))


def test_the_tail_vouches_only_for_what_it_has_seen():
    tail: Tail[str] = Tail(max_items=3)
    assert tail.after(0) is None
    for seq in (10, 12, 15, 19):
        tail.append(seq, str(seq), 1)
    # 10 has fallen out; what came after 11 is all here, what came after 10 may not be.
    assert tail.after(10) is None
    assert tail.after(11) == ["12", "15", "19"]
    assert tail.after(12) == ["15", "19"]
    assert tail.after(19) == []
    # A client that is ahead has seen what this tail has not.
    assert tail.after(20) is None
    tail.clear()
    assert tail.after(19) is None


def test_the_tail_is_bounded_in_bytes_but_keeps_the_newest():
    tail: Tail[int] = Tail(max_bytes=100)
    for seq in range(1, 6):
        tail.append(seq, seq, 40)
    assert tail.after(3) == [4, 5]
    assert tail.after(2) is None
    tail.append(6, 6, 1000)
    assert tail.after(5) == [6]


JOB = Job(
    id="j",
    spec=read_spec({"targets": [{"url": "http://localhost/"}], "sessions": 4}),
    state="running",
    submitted_at=5.0,
)
DONE = Job(
    id="j",
    spec=JOB.spec,
    state="finished",
    submitted_at=5.0,
    verdict="passed",
    counts=Counts(planned=4, ok=4),
)


def heard(seq: int, state="running") -> JobProgress:
    return JobProgress(job="j", seq=seq, at=1.0, state=state, counts=Counts(planned=4, running=2))


def test_standing_is_the_newest_that_was_heard():
    assert standing(JOB, heard(3), None, heard(7), heard(5)) == heard(7)


def test_standing_of_a_job_that_nobody_spoke_of():
    found = standing(JOB, None)
    assert (found.seq, found.state, found.counts) == (0, "running", Counts(planned=4))


def test_standing_of_a_finished_job_says_so_under_the_old_sequence():
    found = standing(DONE, heard(7))
    assert (found.seq, found.state, found.verdict, found.counts) == (7, "finished", "passed", DONE.counts)
    last_word = heard(9, "finished")
    assert standing(DONE, heard(7), last_word) is last_word
