"""Bounds: a stream that fills up, a thousand jobs that wait, a large job."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SpecError, StreamFull
from broker_config.job_spec import read_spec
from broker_config.streams import DISPATCH, PROGRESS
from tests.support.backstage import RawRunner, backstage
from tests.support.waiting import eventually


async def _limit(stage, stream: str, max_bytes: int) -> None:
    config = (await stage.jet.api(f"STREAM.INFO.{stream}"))["config"]
    await stage.jet.api(f"STREAM.UPDATE.{stream}", config | {"max_bytes": max_bytes})


async def test_a_job_whose_records_would_not_fit_is_refused_in_words(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        await _limit(stage, PROGRESS.name, 100_000)
        with pytest.raises(StreamFull, match=r"records of 500 sessions would not fit .* PROGRESS"):
            await stage.submit(500)
        runner = asyncio.create_task(RawRunner(stage.nc).run())
        small = await stage.submit(20)
        done = await stage.finished(small.id)
        assert done.counts.ok == 20
        assert len(await stage.records(small.id)) == 20
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)


async def test_a_job_that_the_disk_has_no_room_for_is_refused_in_words(
    own_broker: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = shutil.disk_usage(tmp_path)._replace(free=50_000_000 + 100 * 1_200)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    async with backstage(own_broker.url) as stage:
        stage.store._store_dir = str(tmp_path)
        with pytest.raises(StreamFull, match=r"records of 101 sessions would not fit on the disk of "):
            await stage.submit(101)
        assert (await stage.submit(100)).state == "queued"


async def test_a_full_dispatch_stream_is_waited_out(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        job = await stage.submit(40, load={"executor": "shared-sessions", "vus": 40})
        await _limit(stage, DISPATCH.name, 2_000)
        task = asyncio.create_task(RawRunner(stage.nc, slots=16).run())
        await eventually(lambda: stage.fleet.runner("raw"), 5)
        await asyncio.wait({task}, timeout=1.5)  # it meets the bound, again and again
        await _limit(stage, DISPATCH.name, DISPATCH.max_bytes)
        done = await stage.finished(job.id, 20)
        assert done.counts.ok == 40
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_thousand_jobs_wait_and_another_runs_at_once(own_broker: EmbeddedServer) -> None:
    async with backstage(own_broker.url) as stage:
        runner = asyncio.create_task(RawRunner(stage.nc, slots=8).run())
        for _ in range(20):
            await asyncio.gather(*(stage.submit(5, platforms=["windows-msedge"]) for _ in range(50)))
        began = time.monotonic()
        job = await stage.submit(100, load={"executor": "shared-sessions", "vus": 8})
        done = await stage.finished(job.id, 20)
        assert done.counts.ok == 100
        assert time.monotonic() - began < 10

        async def all_wait() -> bool:
            page = await stage.store.page(cursor=None, limit=500, state="queued")
            return len(page.items) == 500 and all(r.waiting_for for r in page.items)

        await eventually(all_wait, 30, interval=0.5)
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)


def test_a_job_too_large_for_one_document_is_refused_in_words() -> None:
    targets = [{"url": f"http://127.0.0.1/{n}/{'x' * 200}"} for n in range(6_000)]
    with pytest.raises(SpecError, match="at most 900 KB can be stored"):
        read_spec({"targets": targets, "sessions": 6_000})
