"""Who it is that shows a secret, and whether they still are that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from broker_config.errors import BrokerError
from broker_config.people import ApiToken, Login, Project, Role, User, login_key, token_key
from orchestrator.core import principals
from orchestrator.core.access import Principal
from orchestrator.core.credential import Credential

from .credential_store import USED_EVERY, CredentialStore

log = logging.getLogger(__name__)

#: How often it is written down what was used, s.
_NOTE_EVERY = 10.0
#: Ids that are not known here may have been made elsewhere a moment ago: so many are asked for at once.
_ASKING = 8


class _Memberships(NamedTuple):
    version: int
    by_user: Mapping[str, Mapping[str, Role]]


class Authenticator:
    """Answers from memory, as `PeopleBucket` keeps it true. `run` writes down what was used.

    Where the broker is away, `bearer` and `cookie` raise `BrokerUnavailable`: nobody knows then what was
    revoked meanwhile.
    """

    def __init__(self, store: CredentialStore) -> None:
        self._store = store
        self._bucket = store.bucket
        self._memberships = _Memberships(-1, {})
        self._asking = asyncio.Semaphore(_ASKING)
        self._used: dict[str, float] = {}

    async def bearer(self, secret: str, now: float) -> Principal | None:
        """The one who shows a token, or the login of a command line."""
        credential = Credential.parse(secret)
        if credential is None:
            return None
        await self._bucket.ready()
        token = self._bucket.cached(ApiToken, credential.id)
        login = self._bucket.cached(Login, credential.id)
        if token is None and login is None:
            async with self._asking:
                token, _ = await self._bucket.read(ApiToken, token_key(credential.id))
                if token is None:
                    login, _ = await self._bucket.read(Login, login_key(credential.id))
        if token is not None and credential.fits(token.secret_hash):
            return self._noted(self._of_token(token, now), token.last_used_at, now)
        if login is not None and login.bearer and credential.fits(login.secret_hash):
            return self._noted(self._of_login(login, now), login.last_used_at, now)
        return None

    async def cookie(self, secret: str, now: float) -> Principal | None:
        """The one whose browser shows the cookie of a login."""
        credential = Credential.parse(secret)
        if credential is None:
            return None
        await self._bucket.ready()
        login = self._bucket.cached(Login, credential.id)
        if login is None:
            async with self._asking:
                login, _ = await self._bucket.read(Login, login_key(credential.id))
        if login is None or login.bearer or not credential.fits(login.secret_hash):
            return None
        return self._noted(self._of_login(login, now), login.last_used_at, now)

    async def valid(self, principal: Principal, now: float) -> Principal | None:
        """The same with the rights that it has now; None once its credential is revoked or has expired, or
        its user is disabled. Cheap; what is asked about so does not become idle."""
        await self._bucket.ready()
        token = self._bucket.cached(ApiToken, principal.credential)
        if token is not None:
            return self._noted(self._of_token(token, now), token.last_used_at, now)
        login = self._bucket.cached(Login, principal.credential)
        if login is not None:
            return self._noted(self._of_login(login, now), login.last_used_at, now)
        return None

    @property
    def version(self) -> int:
        """Grows with each change of users, projects, tokens or logins, by whichever orchestrator."""
        return self._bucket.version

    async def wait_changed(self, after: int) -> int:
        """Wait until `version` is above `after`; returns it. What was valid may not be any more."""
        return await self._bucket.wait_changed(after)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_EVERY)
            await self.note()

    async def note(self) -> None:
        """Write down when credentials were used last, since the last call."""
        used, self._used = self._used, {}
        for id, at in used.items():
            try:
                await self._store.used(id, at)
            except BrokerError as e:
                log.debug("that %s was used is not written down: %s", id, e)

    def _of_token(self, token: ApiToken, now: float) -> Principal | None:
        if token.parent:
            parent = self._bucket.cached(ApiToken, token.parent)
            if parent is None or self._of_token(parent, now) is None:
                return None
        owner = self._bucket.cached(User, token.owner)
        return principals.of_token(token, owner, self._projects_of(token.owner), now)

    def _of_login(self, login: Login, now: float) -> Principal | None:
        # Use that is not written down yet counts too.
        used = max(login.last_used_at, self._used.get(login.id, 0.0))
        user = self._bucket.cached(User, login.user)
        return principals.of_login(login, user, self._projects_of(login.user), now, used)

    def _projects_of(self, user: str) -> Mapping[str, Role]:
        if self._memberships.version != self._bucket.version:
            by_user = principals.memberships(self._bucket.all(Project))
            self._memberships = _Memberships(self._bucket.version, by_user)
        return self._memberships.by_user.get(user, {})

    def _noted(self, found: Principal | None, last: float | None, now: float) -> Principal | None:
        if found is not None and now - (last or 0.0) > USED_EVERY:
            self._used[found.credential] = now
        return found
