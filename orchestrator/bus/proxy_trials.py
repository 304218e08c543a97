"""Tests of proxies, made by a runner: it leaves from where sessions leave."""

from __future__ import annotations

from collections.abc import Callable

from broker_config import codec
from broker_config.api import ProxyTestReport, RunnerView
from broker_config.errors import BrokerUnavailable, Conflict, Problem, SpecError
from broker_config.messages import ControlReply, RunnerControl
from broker_config.origin import Origin
from broker_config.proxy_pool import MAX_TRIAL, TRIAL_LIMIT, ProxyTrial
from broker_config.seal import Seal
from broker_config.subjects import runner_control
from orchestrator.core import admission
from orchestrator.core.target_rules import Grounds

from .fleet import Fleet
from .jet import Jet
from .proxy_store import ProxyStore
from .trial_ticket import LIFE, TrialTicket

#: Seconds in which a runner has tested what one order names; it tests some of them at once.
ANSWER_LIMIT = 2 * TRIAL_LIMIT + 5.0


class ProxyTrials:
    """`grounds` are those of all projects; `clock` gives seconds since 1970."""

    def __init__(
        self,
        jet: Jet,
        proxies: ProxyStore,
        fleet: Fleet,
        seal: Seal,
        *,
        clock: Callable[[], float],
        grounds: Grounds | None = None,
    ) -> None:
        self._jet = jet
        self._seal = seal
        self._clock = clock
        self._proxies = proxies
        self._fleet = fleet
        self._grounds = grounds or Grounds()

    async def test(self, name: str, *, first: int = 0, url: str = "", runner: str = "") -> ProxyTestReport:
        """Test proxies of the pool from index `first` on, disabled ones too, and remember what came of it.

        `url` is asked for through each; without it nobody but the proxy is talked to. Raises `PoolNotFound`,
        `SpecError` (the URL is not allowed, there is no such runner), `Conflict` (the pool was changed
        meanwhile), `BrokerUnavailable` (no runner is online or answers).
        """
        self._check(url)
        pool, revision = await self._proxies.get(name)
        chosen = self._runner(runner)
        ticket = TrialTicket(
            runner=chosen,
            pool=name,
            revision=revision,
            first=first,
            count=MAX_TRIAL,
            until=self._clock() + LIFE,
        )
        trial = ProxyTrial(
            pool=name,
            revision=revision,
            first=first,
            count=MAX_TRIAL,
            url=url,
            ticket=ticket.sealed(self._seal),
        )
        reply = await self._ask(chosen, trial)
        if not reply.ok:
            raise Conflict(f"runner {chosen} did not test the pool {name}: {reply.detail}")
        results = list(zip(pool.proxies[first : first + MAX_TRIAL], reply.tested, strict=False))
        after = first + len(results)
        return ProxyTestReport(
            runner=chosen,
            items=await self._proxies.tested(name, results),
            next=after if results and after < len(pool.proxies) else None,
        )

    def _check(self, url: str) -> None:
        if not url:
            return
        try:
            Origin.of(url)
        except ValueError as e:
            raise SpecError([Problem("url", str(e))]) from None
        if refused := admission.refusals([("url", url)], self._grounds):
            raise SpecError(refused)

    def _runner(self, wanted: str) -> str:
        online = [r for r in self._fleet.runners() if r.state in ("online", "paused")]
        if not wanted:
            if not online:
                raise BrokerUnavailable("no runner is online; proxies are tested from a runner, start one")
            return max(online, key=_room).id
        if all(r.id != wanted for r in online):
            raise SpecError([Problem("runner", f"there is no runner {wanted[:100]!r} online")])
        return wanted

    async def _ask(self, runner: str, trial: ProxyTrial) -> ControlReply:
        order = codec.encode(RunnerControl(command="test_proxies", trial=trial))
        data = await self._jet.request(runner_control(runner), order, timeout=ANSWER_LIMIT)
        return codec.decode(data, ControlReply)


def _room(runner: RunnerView) -> int:
    return runner.slots - runner.busy
