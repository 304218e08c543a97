"""The fault campaign, short: `python -m tests.campaigns.faults` is the long form."""

from __future__ import annotations

from tests.campaigns.faults import campaign


async def test_nothing_is_lost_or_counted_twice_whatever_dies() -> None:
    result = await campaign(seed=3, faults=15, pause=0.2)
    assert result["wrong"] == []
    assert result["faults"] == 15
    assert result["ok"] > 20
    assert len(result["executors"]) >= 2
