"""Which lane takes a session."""

from __future__ import annotations

import pytest

from orchestrator.core.fallback import FALL_BACK_AFTER, Lanes

CHAIN = ["windows-msedge", "windows-chrome", "linux-chromium"]


def test_the_first_of_the_chain_that_somebody_offers_takes_it() -> None:
    lanes = Lanes(0.0)
    lanes.look({"linux-chromium": 4, "windows-chrome": 1}, 10.0)
    assert lanes.route(CHAIN, 10.0) == "windows-chrome"
    lanes.look({"linux-chromium": 4, "windows-chrome": 1, "windows-msedge": 1}, 11.0)
    assert lanes.route(CHAIN, 11.0) == "windows-msedge"
    assert lanes.route(["macos-webkit"], 11.0) is None
    assert lanes.route([], 11.0) is None


def test_who_has_just_begun_to_look_waits_for_heartbeats() -> None:
    lanes = Lanes(100.0)
    lanes.look({"linux-chromium": 4}, 100.1)
    assert lanes.route(CHAIN, 100.1) is None
    assert lanes.route(CHAIN[2:], 100.1) == "linux-chromium"
    assert lanes.route(CHAIN, 100.0 + FALL_BACK_AFTER) == "linux-chromium"


@pytest.mark.parametrize("slots", [{"linux-chromium": 4}, {"linux-chromium": 4, "windows-msedge": 0}])
def test_a_runner_that_starts_anew_is_waited_for(slots: dict[str, int]) -> None:
    lanes = Lanes(0.0)
    lanes.look({"linux-chromium": 4, "windows-msedge": 1}, 50.0)
    lanes.look(slots, 60.0)
    assert not lanes.deserted("windows-msedge", 61.0)
    assert lanes.route(["windows-msedge", "linux-chromium"], 61.0) is None
    assert lanes.deserted("windows-msedge", 60.0 + FALL_BACK_AFTER)
    assert lanes.route(["windows-msedge", "linux-chromium"], 60.0 + FALL_BACK_AFTER) == "linux-chromium"
    lanes.look({"linux-chromium": 4, "windows-msedge": 1}, 70.0)
    assert lanes.route(["windows-msedge", "linux-chromium"], 70.0) == "windows-msedge"
