"""A runner waits for the time of a session, drops what comes too late, and says how late it was."""

from __future__ import annotations

import time
from pathlib import Path

from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import ErrorInfo
from tests.integration.test_runner_sessions import running
from tests.support.front_desk import front_desk
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually


async def test_it_waits_for_the_time_and_says_how_late_it_was(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Longer than the lease: it is kept meanwhile. One is too late, one late, one from a wrong clock."""
    stub = StubExecutor(0.01)
    async with front_desk(own_broker.url, lease=1.0) as desk, running(desk, stub, tmp_path):
        now = time.time()
        for session, start_at in enumerate((now + 1.2, now - 3, now - 0.5, now + 100), 1):
            await desk.dispatch(1, first=session, start_at=start_at, late_limit=2.0)
        records = {r.session: r for r in await desk.all_done(4)}
        started = {log.session: log.at for log in desk.logs if log.event == "started"}
    assert {s: r.status for s, r in records.items()} == {1: "ok", 2: "dropped", 3: "ok", 4: "ok"}
    assert 0 <= records[1].started_at - (now + 1.2) < 0.3
    assert records[1].attempt == 1
    errors = {s: r.start_error_ms for s, r in records.items()}
    assert errors[1] is not None
    assert errors[1] < 300
    assert errors[3] is not None
    assert 500 <= errors[3] < 1500
    assert (errors[2], errors[4]) == (None, None)
    assert sorted(s for s, _ in stub.seen("start")) == [1, 3, 4]
    assert started[1] >= now + 1.2
    assert 2 not in started


async def test_a_cancel_reaches_a_session_that_waits_for_its_time(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    stub = StubExecutor(0.01)
    async with front_desk(own_broker.url) as desk, running(desk, stub, tmp_path) as runner:
        await desk.dispatch(1, start_at=time.time() + 9, late_limit=1.0)
        await eventually(lambda: len(runner.running), what="a session that waits")
        await desk.cancel()
        (record,) = await desk.all_done(1, within=5)
    assert (record.status, record.start_error_ms) == ("cancelled", None)
    assert stub.events == []


async def test_a_runner_that_ends_hands_on_what_waits_for_its_time(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    first, second = StubExecutor(0.01), StubExecutor(0.01)
    async with front_desk(own_broker.url) as desk:
        async with running(desk, first, tmp_path, name="r1") as runner:
            await desk.dispatch(1, start_at=time.time() + 1.0, late_limit=5.0)
            await eventually(lambda: len(runner.running), what="a session that waits")
        async with running(desk, second, tmp_path, name="r2"):
            (record,) = await desk.all_done(1)
    assert (record.status, record.runner, record.attempt) == ("ok", "r2", 2)
    assert first.events == []


async def test_a_fault_is_not_tried_again_when_that_would_be_too_late(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    crash = ErrorInfo(kind="browser_crashed", infrastructure=True)
    stub = StubExecutor(0.01, play=lambda d: crash if d.attempt == 1 else None)
    async with front_desk(own_broker.url) as desk, running(desk, stub, tmp_path):
        now = time.time()
        await desk.dispatch(1, first=1, start_at=now, late_limit=0.9)
        await desk.dispatch(1, first=2, start_at=now, late_limit=30.0)
        records = {r.session: r for r in await desk.all_done(2)}
    assert (records[1].status, records[1].attempt) == ("failed", 1)
    assert (records[2].status, records[2].attempt) == ("ok", 2)
