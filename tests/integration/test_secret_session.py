"""Stored secrets in real browsers: they reach the page, and what is told and recorded does not hold them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
import pytest_asyncio

from broker_config import document
from broker_config.artifacts import Artifacts
from broker_config.journey import Journey
from broker_config.messages import Dispatch
from broker_config.script import Script
from broker_config.secret_ref import filled_in
from runner.browser.executor import BrowserExecutor
from runner.core.masking import SecretMask
from runner.core.outcome import Outcome
from tests.support.canaries import Canary, Search
from tests.support.secret_site import SecretSite, secret_site
from tests.support.sessions import a_session

SCRIPT = """
async def journey(page, context, data):
    await page.goto(data["url"])
    await page.get_by_label("Password").fill(data["secret:PW"])
    async with step("go"):
        await page.get_by_role("button", name=data["secret:PW"]).click(timeout=200)
"""


@pytest_asyncio.fixture(scope="module", params=["chromium", "firefox"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[BrowserExecutor]:
    executor = BrowserExecutor([request.param])
    await executor.start()
    yield executor
    await executor.close()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[SecretSite]:
    async with secret_site() as site:
        yield site


def given(executor: BrowserExecutor, url: str, canary: Canary, **more: Any) -> Dispatch:
    browser = executor.platforms[0].platform.rpartition("-")[2]
    wanted = Artifacts(keep=["har", "trace", "screenshot", "console"], when="always", mask=False)
    d = a_session(url, browser=browser, artifacts=wanted, **more)
    return msgspec.structs.replace(d, variables=filled_in(d.variables, {"PW": canary.value}))


def search(outcome: Outcome, said: list[str], canary: Canary, tmp_path: Path) -> list[str]:
    looked = Search()
    looked.canaries = [canary]
    for line in said:
        looked.add("said", line)
    looked.add("outcome", msgspec.json.encode(msgspec.structs.replace(outcome, artifacts=[], shots=[])))
    kinds = set()
    for artifact in outcome.artifacts:
        looked.add(artifact.name, artifact.path.read_bytes())
        kinds.add(artifact.kind)
        artifact.path.unlink()
    assert {"har", "screenshot"} <= kinds
    return looked.found()


async def test_a_journey_types_them_and_tells_nothing(
    executor: BrowserExecutor, site: SecretSite, tmp_path: Path
) -> None:
    canary = Canary("typed", random.Random())
    steps = [
        {"expect": {"label": "Password", "value": "not ${secret:PW}"}, "optional": True, "timeout": "200ms"},
        {"fill": {"label": "Password", "value": "${secret:PW}"}},
        {"expect": {"label": "Password", "value": "not ${secret:PW}"}, "optional": True, "timeout": "200ms"},
        {"click": {"text": "${secret:PW}"}, "optional": True, "timeout": "200ms"},
        {"click": {"role": "button", "name": "Go"}},
    ]
    journey = document.read({"steps": steps, "timeout": "5s"}, Journey)
    said: list[str] = []
    d = given(executor, f"{site.url}/login", canary, journey=journey)
    outcome = await executor.run(d, lambda event, text: said.append(text))
    assert parse_qs(site.bodies["/in"], encoding="cp1252")["pw"] == [canary.value]
    assert [s.ok for s in outcome.steps] == [False, True, False, False, False]
    assert any("***" in s.error for s in outcome.steps)
    assert search(SecretMask(d).outcome(outcome), said, canary, tmp_path) == []


async def test_a_script_gets_them_and_its_failure_tells_nothing(
    executor: BrowserExecutor, site: SecretSite, tmp_path: Path
) -> None:
    canary = Canary("scripted", random.Random())
    said: list[str] = []
    d = given(executor, f"{site.url}/login", canary, script=Script(source=SCRIPT, secrets=["PW"]))
    outcome = await executor.run(d, lambda event, text: said.append(text))
    assert outcome.error is not None
    assert outcome.error.kind == "step_failed"
    assert search(SecretMask(d).outcome(outcome), said, canary, tmp_path) == []


async def test_what_does_not_fit_where_it_is_to_stand_is_said(
    executor: BrowserExecutor, site: SecretSite
) -> None:
    canary = Canary("long", random.Random())
    canary.value = canary.value * 1_000
    journey = document.read({"steps": [{"fill": {"label": "Name", "value": "${secret:PW}"}}]}, Journey)
    d = given(executor, f"{site.url}/login", canary, journey=journey)
    outcome = await executor.run(d, lambda event, text: None)
    assert outcome.error is not None
    assert outcome.error.kind == "step_failed"
    assert not outcome.error.infrastructure
    assert "does not fit" in outcome.error.detail
    assert canary.words[0] not in outcome.error.detail
