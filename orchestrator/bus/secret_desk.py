"""Answers `runner.secret`: a runner gets what its session needs, in an envelope that only it can open.

Any orchestrator can answer. What a runner with a credential says of its name is checked against the subject,
on which only it can ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nats.aio.msg import Msg

from broker_config import codec, secret_ref
from broker_config.envelope import enclose
from broker_config.errors import (
    JobNotFound,
    MessageError,
    NameRefused,
    PoolNotFound,
    SealBroken,
    SecretNotFound,
    TrafficBusterError,
)
from broker_config.job import Job
from broker_config.messages import (
    PROTOCOL,
    PROTOCOL_OLDEST,
    SEALED,
    SecretBundle,
    SecretRefusal,
    SecretReply,
    SecretRequest,
)
from broker_config.proxy_pool import ProxyPool
from broker_config.seal import Seal
from broker_config.subjects import (
    RUNNER_SECRET,
    RUNNER_SECRET_QUEUE,
    RUNNER_SECRETS,
    is_inbox,
    runner_secret,
    token,
)
from orchestrator.core.roster import Roster
from orchestrator.core.secret_claim import refusal
from orchestrator.core.turnstile import Turnstile

from .jet import Jet
from .job_store import JobStore
from .quarantine import Quarantine
from .trial_ticket import TrialTicket

log = logging.getLogger(__name__)

#: What one answer can hold, bytes: the broker takes messages of 1 MiB.
MAX_BUNDLE = 1_000_000
#: Questions of one runner in a second, one for each session that begins; those beyond get no answer.
MOST_ASKED = 200


class _Refused(Exception):
    def __init__(self, refusal: SecretRefusal, detail: str) -> None:
        super().__init__(detail)
        self.reply = SecretReply(refusal=refusal, detail=detail)


class SecretDesk:
    """`run` answers until cancelled. `jet` is on the connection by which runners are heard; `clock` gives
    seconds since 1970."""

    def __init__(
        self,
        jet: Jet,
        store: JobStore,
        roster: Roster,
        quarantine: Quarantine,
        seal: Seal,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._jet = jet
        self._store = store
        self._roster = roster
        self._quarantine = quarantine
        self._seal = seal
        self._clock = clock
        #: Set once requests are subscribed to.
        self.listening = asyncio.Event()

    async def run(self) -> None:
        nc = self._jet.nc
        turnstile = Turnstile(MOST_ASKED)
        async with asyncio.TaskGroup() as group:

            async def take(msg: Msg) -> None:
                # Those without a credential share one subject.
                if msg.subject != RUNNER_SECRET and not turnstile.lets(msg.subject, self._clock()):
                    await asyncio.sleep(0)
                    return
                group.create_task(self._answer(msg), name="secrets of a session")

            subs = [
                await nc.subscribe(subject, queue=RUNNER_SECRET_QUEUE, cb=take)
                for subject in (RUNNER_SECRET, RUNNER_SECRETS)
            ]
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                for sub in subs:
                    await sub.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        if not is_inbox(msg.reply):
            return
        data, headers = b"", None
        try:
            request = _read(msg)
            bundle = codec.encode(await self._bundle(request))
            if len(bundle) > MAX_BUNDLE:
                raise _Refused("refused", f"{len(bundle) // 1000} KB are too much for one answer")
            data, headers = enclose(bundle, request.key), {SEALED: "1"}
        except MessageError as e:
            self._quarantine.put("secret", msg.subject, msg.data, str(e))
            data = codec.encode(SecretReply(refusal="refused", detail=str(e)))
        except _Refused as e:
            log.warning("%s", _told(msg, e))
            data = codec.encode(e.reply)
        except (SealBroken, SecretNotFound, PoolNotFound, JobNotFound) as e:
            log.warning("%s", _told(msg, e))
            data = codec.encode(SecretReply(refusal="missing", detail=str(e)))
        except TrafficBusterError as e:
            data = codec.encode(SecretReply(refusal="unavailable", detail=str(e)))
        await self._jet.nc.publish(msg.reply, data, headers=headers)

    async def _bundle(self, request: SecretRequest) -> SecretBundle:
        if request.want == "trial":
            return await self._trial(request)
        job = await self._store.get(request.job)
        if refused := refusal(request, job, self._roster.get(request.runner)):
            raise _Refused(*refused)
        if request.want == "proxies":
            return await self._pool(request, job)
        spec = job.spec
        named = secret_ref.first_places(spec.journey, spec.data.rows if spec.data else (), spec.script)
        values = await self._store.secrets.values(job.project, named)
        log.debug("runner %s gets %d secrets of job %s", request.runner, len(values), job.id)
        return SecretBundle(job=job.id, secrets=dict(values))

    async def _pool(self, request: SecretRequest, job: Job) -> SecretBundle:
        egress = job.spec.egress
        if egress.is_direct:
            raise _Refused("refused", f"job {job.id} uses no proxies")
        pool, revision = await self._store.proxies.used_by(job.id, egress.pool)
        if request.known == revision:
            return SecretBundle(job=job.id, revision=revision)
        # The runner has no use for the others.
        return SecretBundle(job=job.id, pool=ProxyPool(proxies=pool.enabled), revision=revision)

    async def _trial(self, request: SecretRequest) -> SecretBundle:
        try:
            ticket = TrialTicket.read(request.ticket, self._seal)
        except SealBroken:
            raise _Refused("refused", "its ticket is none of ours") from None
        if ticket.runner != request.runner or self._clock() > ticket.until:
            raise _Refused("refused", "its ticket is another runner's, or too old")
        pool, revision = await self._store.proxies.get(ticket.pool)
        if revision != ticket.revision:
            raise _Refused("missing", "the pool was changed meanwhile; try again")
        chosen = pool.proxies[ticket.first : ticket.first + ticket.count]
        return SecretBundle(pool=ProxyPool(proxies=chosen), revision=revision)


def _read(msg: Msg) -> SecretRequest:
    request = codec.decode(msg.data, SecretRequest)
    if not PROTOCOL_OLDEST <= request.protocol <= PROTOCOL:
        raise MessageError(f"a SecretRequest of protocol {request.protocol}")
    try:
        token(request.runner, "runner id")
        if msg.subject not in (RUNNER_SECRET, runner_secret(request.runner)):
            raise MessageError(f"a question of runner {request.runner} came on {msg.subject}")
        if request.want != "trial":
            token(request.job, "job id")
    except NameRefused as e:
        raise MessageError(f"not a usable SecretRequest: {e}") from None
    enclose(b"", request.key)  # raises where there would be nobody to answer to
    return request


def _told(msg: Msg, why: Exception) -> str:
    return f"a question on {msg.subject} is refused: {why}"
