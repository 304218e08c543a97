"""`tb demo`, from its start to its end, and interrupted on the way."""

from __future__ import annotations

import asyncio

import pytest

from .machine import Machine


async def test_the_demo_passes_and_leaves_nothing(machine: Machine) -> None:
    async with machine.running("demo") as demo:
        await demo.said("24 sessions on two pages")
        running = " ".join(p.name() for p in machine.processes())
        assert "nats-server" in running
        assert "chrom" in running
        assert await demo.ended(45) == 0, demo.words
        assert "24 sessions: 24 ok, 0 failed" in demo.words
        assert "Traceback" not in demo.words
    await machine.empty()
    assert list(machine.temporary.iterdir()) == []


@pytest.mark.parametrize("moment", ["looking for a browser", "starting broker", "running "])
async def test_ctrl_c_ends_the_demo_cleanly(machine: Machine, moment: str) -> None:
    async with machine.running("demo") as demo:
        await demo.said(moment)
        machine.processes()
        demo.interrupt()
        # Sessions of the demo end within 2 s; the rest is for a busy machine.
        assert await demo.ended(10) == 3
        assert demo.words.endswith("ended\n")
        assert "Traceback" not in demo.words
    await machine.empty()
    assert list(machine.temporary.iterdir()) == []


async def test_impatience_is_clean_too(machine: Machine) -> None:
    """Ctrl-C again and again, as people do."""
    async with machine.running("demo") as demo:
        await demo.said("sessions on two pages")
        machine.processes()
        waiting = asyncio.ensure_future(demo.ended(15))
        while not waiting.done():
            demo.interrupt()
            await asyncio.wait({waiting}, timeout=0.3)
        assert await waiting == 3
        assert "Traceback" not in demo.words
    await machine.empty()
    assert list(machine.temporary.iterdir()) == []
