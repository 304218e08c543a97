"""`POST /jobs/plan` over a real server: checked as a submit, and nothing is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest_asyncio

from broker_config.connection import connected
from broker_config.errors import StreamFull
from broker_config.job_plan import JobPlan
from tests.support.web_parts import SPEC, Stage, stage


@pytest_asyncio.fixture(scope="module")
async def web(broker_url: str) -> AsyncIterator[Stage]:
    async with connected(broker_url, name="plan test") as nc, stage(nc) as it:
        it.fleet.put("r1", busy=1)
        yield it


@pytest_asyncio.fixture(scope="module")
async def http(web: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.api) as client:
        yield client


async def test_a_plan_is_answered_and_nothing_is_stored(web: Stage, http: httpx.AsyncClient) -> None:
    answer = await http.post("/jobs/plan", json={**SPEC, "load": {"vus": 2}})
    assert answer.status_code == 200
    plan = msgspec.json.decode(answer.content, type=JobPlan)
    assert (plan.sessions, plan.at_once, sum(plan.minutes)) == (5, 2, 5)
    (platform,) = plan.platforms
    assert (platform.runs_on, platform.slots, platform.free) == ("linux-chromium", 4, 3)
    assert web.jobs.jobs == {}


async def test_a_runner_that_takes_no_work_counts_for_nothing(web: Stage, http: httpx.AsyncClient) -> None:
    views = web.fleet._views
    views["r2"] = msgspec.structs.replace(views["r1"], id="r2", state="draining")
    try:
        assert (await http.post("/jobs/plan", json=SPEC)).json()["platforms"][0]["runners"] == 1
    finally:
        del views["r2"]


async def test_it_is_refused_as_a_submit_would_be(web: Stage, http: httpx.AsyncClient) -> None:
    wrong = (await http.post("/jobs/plan", json={**SPEC, "platforms": ["amiga-netscape"]})).json()
    assert (wrong["status"], wrong["errors"][0]["where"]) == (422, "platforms")
    foreign = {**SPEC, "targets": [{"url": "https://shop.example/"}]}
    refused = (await http.post("/jobs/plan", json=foreign)).json()
    assert refused["status"] == 422
    assert "https://shop.example is not an allowed origin" in refused["detail"]
    named = (await http.post("/jobs/plan", json={"targets_file": "urls.txt", "sessions": 1})).json()
    assert "give its targets here" in named["detail"]
    web.jobs.fault = StreamFull("full")
    try:
        assert (await http.post("/jobs/plan", json=SPEC)).status_code == 507
    finally:
        web.jobs.fault = None
