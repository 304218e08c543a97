"""Credentials of runners: invited, joined, renewed, revoked. For brokers in operator mode.

Any orchestrator can do each of it. A name is bound to the key that joined under it until that is revoked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker_config import codec, nats_jwt
from broker_config.enrolment import (
    CREDENTIAL_LIFE,
    MAX_TTL,
    MIN_TTL,
    TOKEN_PREFIX,
    EnrolledRunner,
    Invite,
    InviteOrder,
    InviteView,
    NewInvite,
    RevokedKey,
    RunnerGrant,
    RunnerJoin,
    joined,
)
from broker_config.errors import (
    BrokerError,
    Conflict,
    InviteNotFound,
    JoinRefused,
    MessageError,
    NameRefused,
    Problem,
    RunnerNotFound,
    SpecError,
)
from broker_config.keyring import Keyring
from broker_config.messages import PROTOCOL, PROTOCOL_OLDEST, AuditResult, RenewReply, RenewRequest
from broker_config.operator_mode import runner_token
from broker_config.platform import parse_platform
from broker_config.script import MAX_POOL, pool_problem
from broker_config.subjects import (
    CONDUCTOR,
    RUNNER_RENEW_QUEUE,
    RUNNER_RENEWS,
    is_inbox,
    runner_renew,
    token,
)
from orchestrator.core.audit_note import AuditNote
from orchestrator.core.turnstile import Turnstile

from .account_push import AccountPush
from .audit_log import AuditLog
from .claim import Wrong
from .enrolment_bucket import EnrolmentBucket
from .jet import Jet
from .quarantine import Quarantine

log = logging.getLogger(__name__)

_ATTEMPTS = 20
_INVALID = "the join token is not valid: its time is over, it is used up or was removed; ask for a new one"
#: Between attempts to push accounts, s.
_PAUSE = 1.0
#: Renewals that one runner may ask for in a second.
_MOST_RENEWALS = 2


class Enrolment:
    """`run` follows the bucket, answers renewals and keeps the broker's accounts true, until cancelled.

    `addresses` are those of the broker that runners are told, `ca` the certificates by which it is known.
    `clock` gives seconds since 1970, `life` is that of a credential in seconds. Renewals are heard on `ears`,
    where that is another connection. Every call may raise `BrokerUnavailable`.
    """

    def __init__(
        self,
        jet: Jet,
        keyring: Keyring,
        push: AccountPush,
        quarantine: Quarantine,
        *,
        addresses: Sequence[str],
        clock: Callable[[], float],
        ca: str = "",
        life: float = CREDENTIAL_LIFE,
        audit_log: AuditLog | None = None,
        ears: Client | None = None,
    ) -> None:
        self._jet = jet
        self._ears = ears or jet.nc
        self._keyring = keyring
        self._push = push
        self._quarantine = quarantine
        self._addresses = list(addresses)
        self._clock = clock
        self._ca = ca
        self._life = life
        self._audit_log = audit_log
        self._due = asyncio.Event()
        self._bucket = EnrolmentBucket(jet, self._due.set)
        #: Set once renewals are subscribed to.
        self.listening = asyncio.Event()

    async def run(self) -> None:
        turnstile = Turnstile(_MOST_RENEWALS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bucket.run(), name="enrolment")
            group.create_task(self._keep_accounts(), name="accounts of the broker")

            async def take(msg: Msg) -> None:
                if not turnstile.lets(msg.subject, self._clock()):
                    await asyncio.sleep(0)
                    return
                group.create_task(self._answer(msg), name="renewal")

            sub = await self._ears.subscribe(RUNNER_RENEWS, queue=RUNNER_RENEW_QUEUE, cb=take)
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                await self._push.close()
                await sub.unsubscribe()

    def look_again(self) -> None:
        """The broker was away: its accounts may have to be told anew."""
        self._due.set()

    def problem(
        self, runner: str, pool: str | None, platforms: Sequence[str], *, scripts: bool
    ) -> Wrong | None:
        """Why a runner may not say of itself that it is so; None if it may."""
        found = self._bucket.runner(runner)
        if found is None:
            # The broker has let it in: word of it is on its way here.
            return Wrong(f"it is not known here yet that runner {runner} has joined", passing=True)
        if found.revoked_at is not None:
            return Wrong(f"the credential of runner {runner} is revoked")
        if pool != found.pool:
            return Wrong(f"its credential is for {_pool(found.pool)}, not for {_pool(pool)}")
        if found.platforms and (foreign := sorted(set(platforms) - set(found.platforms))):
            return Wrong(f"its credential is for {', '.join(found.platforms)}, not for {', '.join(foreign)}")
        if scripts and not found.scripts:
            return Wrong("its credential is not for scripts of users")
        return None

    # --- invites -----------------------------------------------------------------------------------------

    async def invite(self, order: InviteOrder, by: str) -> NewInvite:
        """Raises `SpecError`."""
        problems = list(_problems(order))
        if problems:
            raise SpecError(problems)
        id, secret, now = secrets.token_hex(5), secrets.token_urlsafe(24).replace("_", "-"), self._clock()
        invite = Invite(
            id=id,
            secret_hash=_hash(secret),
            uses=order.uses,
            expires_at=now + float(order.ttl),
            pool=order.pool,
            platforms=sorted(set(order.platforms)),
            scripts=order.scripts,
            made_by=by,
            made_at=now,
        )
        await self._bucket.write(_invite_key(id), invite, 0, life=float(order.ttl) + 1)
        return NewInvite(invite=_view(invite), token=f"{TOKEN_PREFIX}{id}_{secret}")

    async def invites(self) -> list[InviteView]:
        """Newest first."""
        found = [i for i in await self._bucket.invites() if i.expires_at > self._clock()]
        return [_view(i) for i in sorted(found, key=lambda i: -i.made_at)]

    async def remove_invite(self, id: str) -> None:
        """Raises `InviteNotFound`. Who has joined by it stays."""
        for _ in range(_ATTEMPTS):
            found, revision = await self._bucket.read(Invite, _invite_key(id))
            if found is None:
                raise InviteNotFound(f"there is no invite {id}; `tb runners invites` shows all")
            try:
                return await self._bucket.remove(_invite_key(id), revision)
            except Conflict:
                continue
        raise Conflict(f"invite {id} changes too fast; try again")

    # --- credentials -------------------------------------------------------------------------------------

    async def join(self, wish: RunnerJoin, address: str) -> RunnerGrant:
        """Exchange a token for a credential. The same runner may ask again, should the answer have been lost.

        Raises `JoinRefused` and `NameRefused`.
        """
        name = token(wish.runner, "runner id")
        if name == CONDUCTOR:
            raise NameRefused(f"runner id {CONDUCTOR!r} is taken by the conductor; choose another")
        if not nats_jwt.is_user_key(wish.key) or not _is_signed(wish):
            raise JoinRefused("the runner has not shown that the key is its own; install the same version")
        paid = False
        for _ in range(_ATTEMPTS):
            invite, revision = await self._valid(wish.token)
            known, before = await self._bucket.read(EnrolledRunner, f"runner.{name}")
            self._check_name(known, name, wish.key)
            if (await self._bucket.read(RevokedKey, f"revoked.{wish.key}"))[0] is not None:
                raise JoinRefused("the runner's key is revoked; `tb-runner leave` removes it, then join anew")
            again = known is not None and (known.key, known.invite) == (wish.key, invite.id)
            now = self._clock()
            runner = EnrolledRunner(
                runner=name,
                key=wish.key,
                invite=invite.id,
                pool=invite.pool,
                platforms=invite.platforms,
                scripts=invite.scripts,
                address=address,
                joined_at=now,
                expires_at=now + self._life,
            )
            try:
                if known is not None and known.revoked_at is not None:
                    await self._remember_revoked(known)
                if not again and not paid:
                    if invite.used >= invite.uses:
                        raise JoinRefused(_INVALID)
                    used = msgspec.structs.replace(invite, used=invite.used + 1)
                    left = invite.expires_at - now
                    await self._bucket.write(_invite_key(invite.id), used, revision, life=max(1, left) + 1)
                    paid = True
                await self._bucket.write(f"runner.{name}", runner, before)
            except Conflict:
                continue
            log.info("runner %s has joined by invite %s, from %s", name, invite.id, address or "nowhere")
            return self._grant(runner, now)
        raise Conflict("too many join at the same moment; try again")

    async def renew(self, name: str, key: str) -> RunnerGrant:
        """Raises `JoinRefused`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self._bucket.read(EnrolledRunner, f"runner.{name}")
            if found is None or found.key != key or found.revoked_at is not None:
                raise JoinRefused(
                    f"runner {name} has no credential that could be renewed; it has to join anew"
                )
            now = self._clock()
            longer = msgspec.structs.replace(found, expires_at=max(found.expires_at, now + self._life))
            try:
                await self._bucket.write(f"runner.{name}", longer, revision)
            except Conflict:
                continue
            log.info("runner %s has renewed its credential", name)
            return self._grant(longer, now)
        raise Conflict(f"runner {name} changes too fast; try again")

    async def revoke(self, name: str, by: str) -> float:
        """When it was revoked. Its connections are cut when this returns. Raises `RunnerNotFound`."""
        for _ in range(_ATTEMPTS):
            found, revision = await self._bucket.read(EnrolledRunner, f"runner.{token(name, 'runner id')}")
            if found is None:
                raise RunnerNotFound(f"no runner {name} has joined; `tb runners list` shows those that run")
            at = found.revoked_at
            if at is None:
                at = self._clock()
                found = msgspec.structs.replace(found, revoked_at=at, revoked_by=by)
                try:
                    await self._bucket.write(f"runner.{name}", found, revision)
                except Conflict:
                    continue
            # The cut first: the runner's document says already that it is revoked.
            await self._push.push(self._revoked, runners=True)
            await self._remember_revoked(found)
            log.warning("the credential of runner %s is revoked by %s", name, by or "somebody")
            return at
        raise Conflict(f"runner {name} changes too fast; try again")

    # --- inside ------------------------------------------------------------------------------------------

    async def _keep_accounts(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                # Before all is known, nothing is taken back.
                await self._bucket.ready()
                await self._push.push(self._revoked)
            except BrokerError as e:
                log.warning("the broker's accounts could not be looked at: %s", e)
                self._due.set()
                await asyncio.sleep(_PAUSE)

    async def _remember_revoked(self, runner: EnrolledRunner) -> None:
        """By its key: its name may go to another."""
        until = runner.expires_at + 1
        left = max(1.0, until - self._clock())
        revoked = RevokedKey(runner=runner.runner, until=until)
        await self._bucket.write(f"revoked.{runner.key}", revoked, None, life=left + 3600)

    def _revoked(self) -> dict[str, float]:
        return self._bucket.revoked(self._clock())

    async def _valid(self, text: str) -> tuple[Invite, int]:
        id, _, secret = text.strip().removeprefix(TOKEN_PREFIX).partition("_")
        try:
            invite, revision = await self._bucket.read(Invite, _invite_key(id))
        except InviteNotFound:
            raise JoinRefused(_INVALID) from None
        # The same words for all of it: nobody learns which tokens there are.
        if invite is None or not hmac.compare_digest(invite.secret_hash, _hash(secret)):
            raise JoinRefused(_INVALID)
        if invite.expires_at <= self._clock():
            raise JoinRefused(_INVALID)
        return invite, revision

    def _check_name(self, known: EnrolledRunner | None, name: str, key: str) -> None:
        if known is not None and known.revoked_at is None and known.key != key:
            raise JoinRefused(
                f"a runner {name} has joined already, with another key; choose another name (--name), or "
                f"`tb runners revoke {name}` first"
            )

    def _grant(self, runner: EnrolledRunner, now: float) -> RunnerGrant:
        return RunnerGrant(
            runner=runner.runner,
            token=runner_token(
                self._keyring,
                runner.runner,
                runner.key,
                platforms=runner.platforms,
                pool=runner.pool,
                scripts=runner.scripts,
                now=now,
                expires_at=now + self._life,
            ),
            nats=self._addresses,
            issued_at=now,
            expires_at=now + self._life,
            pool=runner.pool,
            platforms=runner.platforms,
            scripts=runner.scripts,
            dispatch_keys=self._keyring.dispatch_keys,
            ca=self._ca,
        )

    async def _answer(self, msg: Msg) -> None:
        if not is_inbox(msg.reply):
            return
        try:
            request = codec.decode(msg.data, RenewRequest)
            if not PROTOCOL_OLDEST <= request.protocol <= PROTOCOL:
                raise MessageError(f"a RenewRequest of protocol {request.protocol}")
            if msg.subject != runner_renew(request.runner):
                raise MessageError(f"a wish of runner {request.runner} came on {msg.subject}")
            reply = RenewReply(grant=await self.renew(request.runner, request.key))
            self._note(request.runner, "ok", "")
        except (MessageError, NameRefused) as e:
            self._quarantine.put("renew", msg.subject, msg.data, str(e))
            reply = RenewReply(refusal=str(e), final=True)
        except JoinRefused as e:
            log.warning("a renewal on %s is refused: %s", msg.subject, e)
            self._note(request.runner, "refused", str(e))
            reply = RenewReply(refusal=str(e), final=True)
        except BrokerError as e:
            reply = RenewReply(refusal=str(e))
        await self._ears.publish(msg.reply, codec.encode(reply))

    def _note(self, runner: str, result: AuditResult, detail: str) -> None:
        if self._audit_log is not None:
            said = AuditNote(action="runner.renew", result=result, actor=runner, kind="runner", detail=detail)
            self._audit_log.note(said)


def _invite_key(id: str) -> str:
    try:
        return f"invite.{token(id, 'invite')}"
    except NameRefused as e:
        raise InviteNotFound(str(e)) from None


def _hash(secret: str) -> str:
    """The secret is 24 random bytes: nothing slow is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_signed(wish: RunnerJoin) -> bool:
    try:
        signature = base64.b64decode(wish.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return nats_jwt.verifies(wish.key, joined(wish.token, wish.runner), signature)


def _problems(order: InviteOrder) -> Sequence[Problem]:
    found = []
    if not MIN_TTL <= float(order.ttl) <= MAX_TTL:
        found.append(Problem("ttl", f"{order.ttl} is not allowed; use 10s to {MAX_TTL / 86_400:.0f}d"))
    if order.pool is not None:
        try:
            wrong = pool_problem(token(order.pool, "pool"))
            if wrong is None and len(order.pool) > MAX_POOL:
                wrong = f"is too long; use at most {MAX_POOL} characters"
        except NameRefused as e:
            wrong = str(e)
        if wrong:
            found.append(Problem("pool", wrong))
    for n, platform in enumerate(order.platforms):
        try:
            parse_platform(platform)
        except ValueError as e:
            found.append(Problem(f"platforms[{n}]", str(e)))
    return found


def _pool(pool: str | None) -> str:
    return f"the pool {pool}" if pool else "no pool"


def _view(invite: Invite) -> InviteView:
    return InviteView(
        id=invite.id,
        uses=invite.uses,
        used=invite.used,
        expires_at=invite.expires_at,
        pool=invite.pool,
        platforms=invite.platforms,
        scripts=invite.scripts,
        made_by=invite.made_by,
        made_at=invite.made_at,
    )
