"""Tokens and logins: what was handed out, by the hash of its secret."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable

import msgspec

from broker_config.errors import Conflict, Problem, SpecError, TokenNotFound
from broker_config.people import ApiToken, Login, Role, User, login_key, token_key
from orchestrator.core.credential import ENTROPY, Credential
from orchestrator.core.principals import BEARER_LIFE, IDLE, LIFE

from .people_bucket import PeopleBucket

#: Of one owner: tokens more are refused; of logins the oldest goes.
MAX_TOKENS = 200
MAX_LOGINS = 50
#: How long an expired token is still listed, s.
KEPT = 7 * 86_400.0
#: How old `last_used_at` may be before it is written anew, s.
USED_EVERY = 60.0


class CredentialStore:
    """Secrets leave it once, when they are made. Every call may raise `BrokerUnavailable`."""

    def __init__(
        self,
        bucket: PeopleBucket,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.bucket = bucket
        self._clock = clock
        self._entropy = entropy

    # --- tokens ------------------------------------------------------------------------------------------

    async def tokens(self, owner: str | None = None) -> list[ApiToken]:
        """Newest first; all of them, or those of one owner."""
        await self.bucket.ready()
        found = [t for t in self.bucket.all(ApiToken) if owner in (None, t.owner)]
        return sorted(found, key=lambda t: t.created_at, reverse=True)

    async def token(self, id: str) -> ApiToken:
        """Raises `TokenNotFound`."""
        await self.bucket.ready()
        found = self.bucket.cached(ApiToken, id)
        if found is None:
            raise TokenNotFound.of(id)
        return found

    async def add_token(
        self,
        owner: User,
        name: str,
        role: Role,
        *,
        projects: list[str] | None = None,
        expires_at: float | None = None,
        parent: str = "",
        check: Callable[[ApiToken], None] = lambda token: None,
    ) -> tuple[ApiToken, str]:
        """The token, and its secret as it is shown. With a `parent` it ends with that one. `check` may refuse
        it before it is stored. Raises `SpecError` where the owner has too many."""
        if len(await self.tokens(owner.name)) >= MAX_TOKENS:
            what = f"{owner.name} has {MAX_TOKENS} tokens; revoke some by `tb tokens revoke`"
            raise SpecError([Problem("", what)])
        credential = Credential.made_of(self._entropy(ENTROPY))
        made = ApiToken(
            id=credential.id,
            name=name,
            owner=owner.name,
            secret_hash=credential.hash,
            role=role,
            projects=projects,
            created_at=self._clock(),
            expires_at=expires_at,
            generation=owner.generation,
            parent=parent,
        )
        check(made)
        await self.put_token(made, 0)
        return made, credential.text

    async def put_token(self, token: ApiToken, revision: int) -> None:
        """Raises `Conflict`."""
        life = None if token.expires_at is None else token.expires_at + KEPT - self._clock()
        await self.bucket.write(token_key(token.id), token, revision, life=life)

    async def revoke_token(self, id: str) -> ApiToken:
        """Raises `TokenNotFound`. Of no use from the return on, elsewhere once they hear of it; and so
        are those that were made with it."""
        await self.token(id)
        while True:
            found, revision = await self.bucket.read(ApiToken, token_key(id))
            if found is None:
                raise TokenNotFound.of(id)
            try:
                await self.bucket.remove(token_key(id), revision)
            except Conflict:
                continue  # it was just used
            break
        for made in [t for t in self.bucket.all(ApiToken) if t.parent == id]:
            with contextlib.suppress(TokenNotFound):
                await self.revoke_token(made.id)
        return found

    # --- logins ------------------------------------------------------------------------------------------

    async def log_in(self, user: User, *, address: str, user_agent: str, bearer: bool) -> tuple[Login, str]:
        """The login, and its secret."""
        await self.bucket.ready()
        now = self._clock()
        own = sorted((x for x in self.bucket.all(Login) if x.user == user.name), key=lambda x: x.created_at)
        for old in own[: max(0, len(own) + 1 - MAX_LOGINS)]:
            await self.log_out(old.id)
        credential = Credential.made_of(self._entropy(ENTROPY))
        life = BEARER_LIFE if bearer else LIFE
        made = Login(
            id=credential.id,
            user=user.name,
            secret_hash=credential.hash,
            created_at=now,
            expires_at=now + life,
            address=address,
            user_agent=user_agent,
            generation=user.generation,
            bearer=bearer,
            last_used_at=now,
        )
        await self.bucket.write(login_key(made.id), made, 0, life=self._left(made))
        return made, credential.text

    async def log_out(self, id: str) -> None:
        """End a login, if there is one."""
        while True:
            found, revision = await self.bucket.read(Login, login_key(id))
            if found is None:
                return
            try:
                # Once it would have ended by itself, nobody needs to know any more.
                await self.bucket.remove(login_key(id), revision, life=found.expires_at - self._clock() + 60)
            except Conflict:
                continue
            return

    async def forget(self, owner: str) -> None:
        """Remove all tokens and logins of a user."""
        for token in await self.tokens(owner):
            # Some go with those that they were made with.
            with contextlib.suppress(TokenNotFound):
                await self.revoke_token(token.id)
        for login in [x for x in self.bucket.all(Login) if x.user == owner]:
            await self.log_out(login.id)

    # --- use ---------------------------------------------------------------------------------------------

    async def used(self, id: str, at: float) -> None:
        """Write down when it was used last; not worth a second attempt."""
        if self.bucket.cached(Login, id) is not None:
            login, revision = await self.bucket.read(Login, login_key(id))
            if login is not None:
                login = msgspec.structs.replace(login, last_used_at=at)
                await self.bucket.write(login_key(id), login, revision, life=self._left(login))
        else:
            token, revision = await self.bucket.read(ApiToken, token_key(id))
            if token is not None:
                await self.put_token(msgspec.structs.replace(token, last_used_at=at), revision)

    def _left(self, login: Login) -> float:
        """Seconds until it ends: by being idle, or for good."""
        until = login.expires_at
        if not login.bearer:
            until = min(until, login.last_used_at + IDLE + 2 * USED_EVERY)
        return until - self._clock()
