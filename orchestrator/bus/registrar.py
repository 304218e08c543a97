"""Answers `runner.register`: any orchestrator can, each request is answered by one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec
from broker_config.errors import BrokerError, MessageError, NameRefused
from broker_config.messages import (
    PROTOCOL,
    PROTOCOL_OLDEST,
    Refusal,
    RefusalCode,
    RegisterReply,
    RegisterRequest,
    RunnerSettings,
)
from broker_config.platform import parse_platform
from broker_config.provisioning import ensure_dispatch_consumer
from broker_config.script import pool_problem, scripts_pool
from broker_config.streams import DISPATCH
from broker_config.subjects import (
    CONDUCTOR,
    RUNNER_REGISTER,
    RUNNER_REGISTER_QUEUE,
    RUNNER_REGISTERS,
    is_inbox,
    runner_register,
    token,
)
from orchestrator.core.audit_note import AuditNote
from orchestrator.core.roster import Roster
from orchestrator.core.turnstile import Turnstile

from .audit_log import AuditLog
from .claim import Claim
from .fleet import MAX_SLOTS
from .kill_switch import KillSwitch
from .quarantine import Quarantine

log = logging.getLogger(__name__)

#: Registrations of one runner in a second; those beyond get no answer.
MOST_ASKED = 10


class Registrar:
    """`run` answers until cancelled. `lease` in seconds; `clock` gives seconds since 1970; `problem` says
    why a runner's credential is not for what it says of itself."""

    def __init__(
        self,
        nc: Client,
        roster: Roster,
        quarantine: Quarantine,
        *,
        lease: float,
        dispatch_keys: Sequence[str] = (),
        kills: KillSwitch | None = None,
        clock: Callable[[], float] = time.time,
        problem: Claim | None = None,
        audit_log: AuditLog | None = None,
        contact: str = "",
    ) -> None:
        self._nc = nc
        self._contact = contact
        self._problem = problem
        self._audit_log = audit_log
        self._quarantine = quarantine
        self._roster = roster
        self._lease = lease
        self._dispatch_keys = list(dispatch_keys)
        self._kills = kills
        self._clock = clock
        #: Set once registrations are subscribed to.
        self.listening = asyncio.Event()
        #: Consumers that were made sure of, so that a crowd of runners does not ask for each again.
        self._consumers: dict[tuple[str, str | None], str] = {}

    async def run(self) -> None:
        turnstile = Turnstile(MOST_ASKED)
        async with asyncio.TaskGroup() as group:

            async def take(msg: Msg) -> None:
                # Those without a credential share one subject.
                if msg.subject != RUNNER_REGISTER and not turnstile.lets(msg.subject, self._clock()):
                    await asyncio.sleep(0)
                    return
                group.create_task(self._answer(msg), name="registration")

            subs = [
                await self._nc.subscribe(subject, queue=RUNNER_REGISTER_QUEUE, cb=take)
                for subject in (RUNNER_REGISTER, RUNNER_REGISTERS)
            ]
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                for sub in subs:
                    await sub.unsubscribe()

    def forget_consumers(self) -> None:
        """The broker was away: it may come back without them."""
        self._consumers.clear()

    async def _answer(self, msg: Msg) -> None:
        if not is_inbox(msg.reply):
            return
        try:
            request = codec.decode(msg.data, RegisterRequest)
            if msg.subject not in (RUNNER_REGISTER, runner_register(request.runner)):
                raise MessageError(f"a registration of runner {request.runner} came on {msg.subject}")
        except (MessageError, NameRefused) as e:
            self._quarantine.put("register", msg.subject, msg.data, str(e))
            reply = _refuse("", "bad_request", str(e))
        else:
            reply = self._check(request) or await self._accept(request)
            if reply.refusal:
                log.warning("runner %s is refused: %s", request.runner, reply.refusal.detail)
                self._note(request, reply.refusal)
        await self._nc.publish(msg.reply, codec.encode(reply))

    def _note(self, request: RegisterRequest, refusal: Refusal) -> None:
        # What passes by itself is nobody's doing.
        if self._audit_log is None or refusal.code == "unavailable":
            return
        said = AuditNote(
            action="runner.register",
            result="refused",
            actor=request.runner,
            kind="runner",
            object=request.runner,
            detail=f"{refusal.code}: {refusal.detail}; it says that it runs on {request.hostname[:64]!r}",
        )
        self._audit_log.note(said)

    def _check(self, r: RegisterRequest) -> RegisterReply | None:
        if not PROTOCOL_OLDEST <= r.protocol <= PROTOCOL:
            return _refuse(
                r.runner,
                "protocol_version",
                f"it speaks protocol {r.protocol}; this orchestrator speaks {PROTOCOL_OLDEST} to {PROTOCOL}. "
                f"Install the same version of trafficbuster on both",
            )
        try:
            token(r.runner, "runner id")
            if r.runner == CONDUCTOR:
                raise ValueError(f"runner id {CONDUCTOR!r} is taken by the conductor; choose another")
            if r.pool is not None:
                token(r.pool, "pool")
                if wrong := pool_problem(r.pool):
                    raise ValueError(f"pool {wrong}")
                if r.scripts:
                    token(scripts_pool(r.pool), "pool for scripts")
            for offer in r.platforms:
                parse_platform(offer.platform)
            if not r.platforms:
                raise ValueError("it offers no platform; start it where a browser is installed")
            if not 1 <= r.slots <= MAX_SLOTS:
                raise ValueError(f"{r.slots} slots are not allowed; use 1 to {MAX_SLOTS}")
        except (ValueError, NameRefused) as e:
            return _refuse(r.runner, "bad_request", str(e))
        offers = [offer.platform for offer in r.platforms]
        claim = self._problem and self._problem(r.runner, r.pool, offers, scripts=r.scripts)
        if claim and claim.passing:
            return _refuse(r.runner, "unavailable", claim.text, retry_after=0.5)
        if claim:
            return _refuse(r.runner, "unknown_token", claim.text)
        known = self._roster.get(r.runner)
        if known and known.state not in ("lost", "offline") and known.instance != r.instance:
            return _refuse(
                r.runner,
                "duplicate_id",
                f"a runner {r.runner} is {known.state} already (on {known.hostname}); stop it or use --name",
                retry_after=5.0,
            )
        return None

    async def _accept(self, r: RegisterRequest) -> RegisterReply:
        consumers, for_scripts = {}, {}
        try:
            for offer in r.platforms:
                consumers[offer.platform] = await self._consumer(offer.platform, r.pool)
                if r.scripts:
                    for_scripts[offer.platform] = await self._consumer(offer.platform, scripts_pool(r.pool))
            # As the bucket says: this orchestrator may have been away as the runner was.
            kills = await self._kills.told() if self._kills is not None else []
        except BrokerError as e:
            return _refuse(r.runner, "unavailable", str(e), retry_after=1.0)
        settings = RunnerSettings(
            lease_s=self._lease,
            stream=DISPATCH.name,
            consumers=consumers,
            script_consumers=for_scripts,
            dispatch_keys=self._dispatch_keys,
            kills=kills,
            now=self._clock(),
            contact=self._contact,
        )
        return RegisterReply(runner=r.runner, settings=settings)

    async def _consumer(self, platform: str, pool: str | None) -> str:
        key = (platform, pool)
        if key not in self._consumers:
            self._consumers[key] = await ensure_dispatch_consumer(self._nc, platform, pool, lease=self._lease)
        return self._consumers[key]


def _refuse(
    runner: str, code: RefusalCode, detail: str, *, retry_after: float | None = None
) -> RegisterReply:
    return RegisterReply(runner=runner, refusal=Refusal(code=code, detail=detail, retry_after_s=retry_after))
