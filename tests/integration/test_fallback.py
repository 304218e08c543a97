"""Sessions whose platform nobody offers, and those that share a ceiling on requests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from broker_config.embedded_server import EmbeddedServer
from broker_config.messages import Dispatch
from broker_config.streams import DISPATCH
from tests.support.backstage import backstage
from tests.support.load_scene import load_scene
from tests.support.stub_executor import StubExecutor
from tests.support.waiting import eventually

CHROMIUM, FIREFOX, WEBKIT = "linux-chromium", "linux-firefox", "macos-webkit"
EDGE, CHROME = "windows-msedge", "windows-chrome"


async def test_another_platform_takes_what_nobody_offers_and_both_names_are_kept(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    """Edge is never there, Firefox is for a while, and nobody offers WebKit or what it falls back to."""
    async with load_scene(own_broker.url, tmp_path, [CHROMIUM, FIREFOX]) as scene:
        firefox = StubExecutor(0.5, platforms=[FIREFOX])
        async with scene.runner(StubExecutor(0.01), name="r1"):
            async with scene.runner(firefox, name="r2", slots=1):
                job = await scene.submit(
                    {"executor": "shared-sessions", "vus": 9},
                    sessions=24,
                    platforms={EDGE: 1, CHROMIUM: 1, FIREFOX: 1, WEBKIT: 1},
                    fallback={EDGE: [CHROME, CHROMIUM], FIREFOX: [CHROMIUM], WEBKIT: [CHROME]},
                )
                await eventually(lambda: firefox.seen("end"), what="a session in Firefox")

            async def all_but_one_kind() -> bool:
                j = await scene.stage.store.get(job.id)
                return j.waiting_for == [WEBKIT] and len(await scene.ran(job.id)) == 18

            await eventually(all_but_one_kind, 12, what="all but those for WebKit")
            await scene.stage.store.command(job.id, "cancel")
            done = await scene.stage.finished(job.id)
        by_firefox = len(firefox.seen("end"))
        assert 1 <= by_firefox < 6
        asked = Counter((r.asked, r.platform) for r in await scene.ran(job.id))
        assert asked == {
            (EDGE, CHROMIUM): 6,
            (None, CHROMIUM): 6,
            (None, FIREFOX): by_firefox,
            (FIREFOX, CHROMIUM): 6 - by_firefox,
        }
        checkpoint = await scene.stage.store.checkpoint(job.id)
        assert checkpoint is not None
        assert checkpoint.progress is not None
        assert checkpoint.got == {
            EDGE: {CHROMIUM: 6},
            CHROMIUM: {CHROMIUM: 6},
            FIREFOX: {FIREFOX: by_firefox, CHROMIUM: 6 - by_firefox},
        }
        assert checkpoint.progress.got == checkpoint.got
        # Groups are by what was asked for.
        groups = {p: (c.planned, c.ok) for p, c in checkpoint.platforms.items()}
        assert groups == {EDGE: (6, 6), CHROMIUM: (6, 6), FIREFOX: (6, 6), WEBKIT: (6, 0)}
        assert done.counts.cancelled == 6
        info = await scene.stage.jet.api(f"STREAM.INFO.{DISPATCH.name}")
        assert info["state"]["messages"] == 0
        await scene.audit(job.id)


class Meter:
    """The shares of the sessions that run now."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.most = 0.0
        self.shares: list[float | None] = []
        self._seconds = seconds

    def begin(self, d: Dispatch) -> float:
        self.shares.append(d.rate)
        self.now += d.rate or 1e9
        self.most = max(self.most, self.now)
        return self._seconds

    def end(self, d: Dispatch) -> None:
        self.now -= d.rate or 1e9


async def test_shares_of_running_sessions_never_exceed_the_ceiling(
    own_broker: EmbeddedServer, tmp_path: Path
) -> None:
    meter = Meter(0.1)
    async with load_scene(own_broker.url, tmp_path) as scene, backstage(own_broker.url, "two") as other:
        first = StubExecutor(meter.begin, play=meter.end)
        async with scene.runner(first, name="r1", slots=3):
            job = await scene.submit(
                {"executor": "shared-sessions", "vus": 8}, sessions=40, limits={"rate": 10}
            )
            await eventually(lambda: len(meter.shares) >= 6, what="some sessions")
            # Twice the slots from here on, and another conductor.
            async with scene.runner(StubExecutor(meter.begin, play=meter.end), name="r2", slots=5):
                await scene.hand_over(other)
                done = await scene.stage.finished(job.id)
        assert done.counts.ok == 40
        assert meter.most <= 10 + 1e-6
        assert meter.shares[0] == round(10 / 3, 6)
        assert meter.shares[-1] == 10 / 8
        # The ceiling is used, not only kept.
        assert meter.most > 8
        await scene.audit(job.id)
