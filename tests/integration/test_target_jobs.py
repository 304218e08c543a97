"""Jobs go where their project has proved that it may: at submission, before the first session, and while they
run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from broker_config import codec
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SpecError
from broker_config.grant import Ceiling
from broker_config.job import Job
from broker_config.job_spec import read_spec
from broker_config.keyring import Keyring
from broker_config.messages import Dispatch, JobControl
from broker_config.signature import Verifier
from broker_config.target_proof import WELL_KNOWN, Target, TargetGrant
from orchestrator.bus.target_prover import TargetProver
from orchestrator.bus.target_watch import Times
from orchestrator.core.target_rules import Grounds
from tests.support.backstage import Backstage, RawRunner, backstage
from tests.support.target_parts import ProvingSite, proving_site, target_guard
from tests.support.waiting import eventually

KEYS = Keyring.new()
QUICK = Times(every=0.3, retry=0.3)


class Scene:
    """A stage whose jobs need proof, a site that gives it, and a runner."""

    def __init__(self, stage: Backstage, site: ProvingSite, runner: RawRunner) -> None:
        self.stage = stage
        self.site = site
        self.runner = runner
        self.dispatches: list[Dispatch] = []
        self.origin = f"http://localhost:{site.port}"
        assert stage.targets is not None
        self.guard = stage.targets

    async def target(self, project: str = "default") -> Target:
        """Added, and proved."""
        made = await self.guard.store.add(project, self.origin)
        self.show(made.token)
        return await self.guard.verify(project, made.id, "file")

    def show(self, text: str) -> None:
        self.site.pages[WELL_KNOWN] = (200, "", text.encode())

    def gone(self) -> None:
        self.site.pages.pop(WELL_KNOWN, None)

    def down(self) -> None:
        self.site.pages[WELL_KNOWN] = (503, "", b"")

    async def submit(self, sessions: int = 1, project: str = "default", **spec: object) -> Job:
        document = {
            "targets": [{"url": f"{self.origin}/x"}],
            "sessions": sessions,
            "load": {"executor": "shared-sessions", "vus": 8},
            **spec,
        }
        job, _ = await self.stage.store.submit(
            read_spec(document), source="api", idempotency_key=None, project=project
        )
        return job

    async def began(self, sessions: int = 1) -> None:
        await eventually(lambda: len(self.runner.running) >= sessions, 10, what="sessions run")


@asynccontextmanager
async def scene(
    url: str,
    play: Callable[[Dispatch], float | None] = lambda d: 0.0,
    *,
    times: Times = QUICK,
    fresh: float = 0.0,
    slots: int = 4,
    grounds: Grounds | None = None,
) -> AsyncIterator[Scene]:
    prover = TargetProver(allow_loopback=True, timeout=2.0)
    more = {"grounds": grounds} if grounds is not None else {}
    async with (
        proving_site() as site,
        backstage(
            url, keyring=KEYS, targets=lambda jet: target_guard(jet, prover, fresh=fresh, **more), times=times
        ) as stage,
    ):
        made: list[Scene] = []

        def played(dispatch: Dispatch) -> float | None:
            made[0].dispatches.append(dispatch)
            return play(dispatch)

        runner = RawRunner(stage.nc, slots=slots, play=played)
        made.append(Scene(stage, site, runner))
        work = asyncio.create_task(runner.run())
        try:
            yield made[0]
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def for_ever(dispatch: Dispatch) -> float | None:
    return None


async def test_who_has_proved_an_origin_may_go_there(own_broker: EmbeddedServer) -> None:
    async with scene(own_broker.url) as s:
        with pytest.raises(SpecError, match=rf"targets\[0\].url: .*`tb targets add {s.origin}`"):
            await s.submit()
        made = await s.guard.store.add("default", s.origin)
        with pytest.raises(SpecError, match="tb targets grant"):
            await s.submit()
        await s.guard.store.change("default", made.id, _granted)
        with pytest.raises(SpecError, match="is not proved yet"):
            await s.submit()
        await s.target()
        done = await s.stage.finished((await s.submit(3)).id)
        assert (done.verdict, done.counts.ok) == ("passed", 3)
        with pytest.raises(SpecError, match=r"`tb targets add .* --project bank`"):
            await s.submit(project="bank")


async def test_a_proof_that_is_gone_lets_no_new_job_in(own_broker: EmbeddedServer) -> None:
    async with granted_scene(own_broker.url) as s:
        s.gone()
        with pytest.raises(SpecError, match=r"is not proved any more .*status 404"):
            await s.submit()
        s.down()
        await s.guard.store.change("default", (await s.target()).id, lambda t: t)
        s.down()
        with pytest.raises(SpecError, match="could not be asked"):
            await s.submit()
        (target,) = await s.guard.store.all("default")
        assert target.state == "verified", "that nobody answers proves nothing"
        s.show(target.token)
        await s.stage.finished((await s.submit()).id)


@asynccontextmanager
async def granted_scene(
    url: str, play: Callable[[Dispatch], float | None] = lambda d: 0.0, **more: object
) -> AsyncIterator[Scene]:
    """With a target that is proved, and may be on loopback."""
    async with scene(url, play, **more) as s:  # type: ignore[arg-type]
        made = await s.guard.store.add("default", s.origin)
        await s.guard.store.change("default", made.id, _granted)
        await s.target()
        yield s


def _granted(target: Target) -> Target:
    return msgspec.structs.replace(target, grant=TargetGrant(by="ada"))


async def test_what_was_proved_at_submission_is_asked_again_before_the_first_session(
    own_broker: EmbeddedServer,
) -> None:
    async with granted_scene(own_broker.url) as s:
        (target,) = await s.guard.store.all("default")
        answers = iter([target.token])

        async def once(writer: asyncio.StreamWriter) -> None:
            body = next(answers, "nothing")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()

        s.site.pages[WELL_KNOWN] = once
        done = await s.stage.finished((await s.submit(5)).id)
        assert (done.verdict, done.ended_by, done.counts.cancelled) == ("aborted", "targets", 5)
        assert "is not proved any more" in done.reason
        assert not s.runner.started


async def test_a_fresh_proof_is_not_asked_for_again(own_broker: EmbeddedServer) -> None:
    async with granted_scene(own_broker.url, fresh=60.0, times=Times()) as s:
        asked = len(s.site.heads)
        await s.stage.finished((await s.submit(3)).id)
        assert len(s.site.heads) == asked


async def test_a_job_ends_when_its_proof_is_taken_away(own_broker: EmbeddedServer) -> None:
    async with granted_scene(own_broker.url, for_ever) as s:
        cancelled = await _orders(s, "cancel")
        job = await s.submit(8)
        await s.began(4)
        s.gone()
        await eventually(lambda: any(o.job == job.id for o in cancelled), 10, what="runners are told")
        s.runner.running.clear()
        done = await s.stage.finished(job.id, 30)
        assert (done.verdict, done.ended_by) == ("aborted", "targets")
        assert "is not proved any more" in done.reason
        (target,) = await s.guard.store.all("default")
        assert (target.state, "404" in target.detail) == ("failed", True)


@pytest.mark.parametrize("how", ["removed", "withdrawn"])
async def test_a_job_ends_when_its_target_or_the_grant_of_it_is_taken_away(
    own_broker: EmbeddedServer, how: str
) -> None:
    async with granted_scene(own_broker.url, for_ever, times=Times(), fresh=60.0) as s:
        job = await s.submit(4)
        await s.began(4)
        (target,) = await s.guard.store.all("default")
        if how == "removed":
            await s.guard.store.remove("default", target.id)
        else:
            await s.guard.store.change("default", target.id, lambda t: msgspec.structs.replace(t, grant=None))

        async def ended() -> bool:
            return (await s.stage.store.get(job.id)).ended_by == "targets"

        await eventually(ended, 5, what="the job is ended")
        words = (await s.stage.store.get(job.id)).reason
        assert ("tb targets add" if how == "removed" else "tb targets grant") in words


async def test_what_cannot_be_asked_is_asked_once_more_and_then_ended(own_broker: EmbeddedServer) -> None:
    async with granted_scene(own_broker.url, for_ever) as s:
        job = await s.submit(2)
        await s.began(2)
        before = len(s.site.heads)
        s.down()

        async def ended() -> Job | None:
            document = await s.stage.store.get(job.id)
            return document if document.ended_by == "targets" else None

        found = await eventually(ended, 10, what="the job is ended")
        assert found is not None
        assert "could not be asked" in found.reason
        assert len(s.site.heads) - before >= 2


async def test_a_site_that_is_away_for_a_moment_ends_nothing(own_broker: EmbeddedServer) -> None:
    async with granted_scene(own_broker.url, for_ever, times=Times(every=0.3, retry=0.8)) as s:
        job = await s.submit(2)
        await s.began(2)
        (target,) = await s.guard.store.all("default")
        s.down()
        before = len(s.site.heads)
        await eventually(lambda: len(s.site.heads) > before, 5, what="asked in vain")
        s.show(target.token)
        asked = len(s.site.heads)
        await eventually(lambda: len(s.site.heads) >= asked + 3, 10, what="asked again and again")
        assert (await s.stage.store.get(job.id)).ended_by == ""


async def test_what_the_operator_allows_needs_no_proof(own_broker: EmbeddedServer) -> None:
    async with scene(own_broker.url, grounds=Grounds(["*"], loopback_free=False)) as s:
        done = await s.stage.finished((await s.submit(2)).id)
        assert done.verdict == "passed"
        assert not s.site.heads
        grants = [d.grant.read() for d in s.dispatches if d.grant is not None]
        assert [g.private_hosts for g in grants] == [["localhost"]] * 2


async def test_dispatches_bring_a_grant_that_is_renewed_while_the_job_runs(
    own_broker: EmbeddedServer,
) -> None:
    async with granted_scene(own_broker.url, for_ever) as s:
        renewals = await _orders(s, "renew")
        (target,) = await s.guard.store.all("default")
        await s.guard.store.change(
            "default", target.id, lambda t: msgspec.structs.replace(t, sessions=2, rate=4.0)
        )
        await eventually(lambda: s.guard.store.known[target.key].sessions == 2)
        job = await s.submit(2, third_party=["cdn.example"])
        await s.began(2)
        signed = s.dispatches[0].grant
        assert signed is not None
        grant = signed.verified(job.id, Verifier(KEYS.dispatch_keys))
        assert (grant.project, grant.origins, grant.private_hosts) == ("default", [s.origin], ["localhost"])
        assert grant.ceilings == {s.origin: Ceiling(sessions=2, rate=4.0)}
        assert grant.third_party == ["cdn.example"]
        assert grant.expires_at - grant.issued_at > 3600
        await eventually(lambda: len(renewals) >= 2, 10, what="renewals")
        (again,) = renewals[-1].grants
        assert again.verified(job.id, Verifier(KEYS.dispatch_keys)).origins == [s.origin]


async def test_ceilings_hold_over_two_jobs(own_broker: EmbeddedServer) -> None:
    rates: dict[tuple[str, int], float] = {}

    def play(dispatch: Dispatch) -> float:
        rates[dispatch.job, dispatch.session] = dispatch.rate or 0.0
        return 0.05

    async with granted_scene(own_broker.url, play, slots=8, times=Times(), fresh=60.0) as s:
        (target,) = await s.guard.store.all("default")
        await s.guard.store.change(
            "default", target.id, lambda t: msgspec.structs.replace(t, sessions=3, rate=6.0)
        )
        await eventually(lambda: s.guard.store.known[target.key].sessions == 3)
        jobs = [await s.submit(12), await s.submit(12, limits={"rate": 1})]
        highest: list[float] = [0.0]
        sampling = asyncio.create_task(_sample(s, rates, highest))
        for job in jobs:
            done = await s.stage.finished(job.id, 30)
            assert done.counts.ok == 12
        sampling.cancel()
        assert s.runner.most_at_once <= 3
        assert len(rates) == 24
        assert all(0 < r <= 6 for r in rates.values())
        assert max(r for (job, _), r in rates.items() if job == jobs[1].id) <= 1.0
        assert 1.0 < highest[0] <= 6.0 + 1e-6
        assert s.runner.most_at_once == 3, "the whole is used"


async def _sample(s: Scene, rates: dict[tuple[str, int], float], highest: list[float]) -> None:
    """The shares of the sessions that run at once."""
    while True:
        highest[0] = max(highest[0], sum(rates.get(key, 0.0) for key in s.runner.running))
        await asyncio.sleep(0.005)


async def _orders(s: Scene, command: str) -> list[JobControl]:
    heard: list[JobControl] = []

    async def take(msg: object) -> None:
        order = codec.decode(msg.data, JobControl)  # type: ignore[attr-defined]
        if order.command == command:
            heard.append(order)

    await s.stage.nc.subscribe("job.control.*", cb=take)
    await s.stage.nc.flush()
    return heard
