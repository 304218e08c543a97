"""The campaign of failing proxies, short: `python -m tests.campaigns.proxies` is the long form."""

from __future__ import annotations

from tests.campaigns.proxies import campaign


async def test_sessions_end_ok_and_never_go_direct_whatever_becomes_of_proxies() -> None:
    result = await campaign(12, 4, own=True)
    assert result["wrong"] == []
    assert result["counts"]["ok"] == result["sessions"]
