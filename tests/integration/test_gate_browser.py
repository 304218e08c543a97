"""The gate with a real browser: contexts of one browser each have their own, and ways out lead nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import async_playwright

from broker_config.origin import Origin
from runner.browser.finder import installed
from runner.browser.launch import fenced, launch_options
from runner.core.egress_policy import EgressPolicy
from runner.gate.browser_side import context_proxy
from runner.gate.gate import Gate
from tests.support.site import open_site

#: One of each kind: document, redirect, frame, request, socket, datagram, worker, spelling, driver.
SHORT = (
    "goto,redirect-307,iframe,fetch-redirected,beacon,websocket-tls,webrtc-stun,webrtc-peer,"
    "quic-webtransport,css-import,service-worker,loopback-mapped,request-of-the-driver"
)


async def test_each_context_of_a_browser_has_its_own_way() -> None:
    found = installed(["chromium"])[0]
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_site()) for _ in range(2)]
        gate = await stack.enter_async_context(Gate())
        playwright = await stack.enter_async_context(async_playwright())
        wall = await stack.enter_async_context(gate.session(EgressPolicy()))
        options = fenced(launch_options(found, "--test-of-the-gate", "", 30), found.browser, wall)
        browser = await playwright.chromium.launch(**options)
        policies = [EgressPolicy(origins=frozenset({Origin.of(s.url)})) for s in (one, two)]
        async with gate.session(policies[0]) as first, gate.session(policies[1]) as second:
            statuses = []
            for lease in (first, second):
                context = await browser.new_context(proxy=context_proxy(lease))  # type: ignore[arg-type]
                page = await context.new_page()
                for site in (one, two):
                    response = await page.goto(site.url + "/shift")
                    assert response is not None
                    statuses.append(response.status)
            assert statuses == [200, 403, 403, 200]
            assert first.report().refused == {"foreign_document": {two.url: 1}}
            assert second.report().refused == {"foreign_document": {one.url: 1}}
        await browser.close()
        assert (one.hits["/shift"], two.hits["/shift"]) == (1, 1)


def test_ways_out_lead_out_without_the_gate_and_nowhere_with_it(tmp_path: Path) -> None:
    """A short form of the campaign: sessions as runners run them, with each packet watched where the system
    allows that."""
    out = tmp_path / "escape.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.escape", "--ways", SHORT, "--json", str(out)],
        cwd=Path(__file__).parents[2],
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["not_a_way_in_this_browser"] == []
    assert result["escaped"] == {"direct": {}, "http": {}, "socks5": {}}
    assert result["strays"] == {}
    assert result["not_run"] == {}
