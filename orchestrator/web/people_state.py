"""What the endpoints of users, projects, tokens and logins work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from starlette.requests import HTTPConnection

from broker_config.seal import Seal
from orchestrator.bus.authenticator import Authenticator
from orchestrator.bus.credential_store import CredentialStore
from orchestrator.bus.jet import Jet
from orchestrator.bus.password import Passwords
from orchestrator.bus.people_bucket import PeopleBucket
from orchestrator.bus.project_store import ProjectStore
from orchestrator.bus.user_store import UserStore

from .oidc_provider import OidcProvider
from .web_state import web


@dataclass(frozen=True, kw_only=True)
class People:
    """`seal` seals what a browser brings back; `oidc` where settings name a provider. Nothing is answered
    unless `run` runs."""

    bucket: PeopleBucket
    users: UserStore
    projects: ProjectStore
    credentials: CredentialStore
    authenticator: Authenticator
    passwords: Passwords
    seal: Seal
    oidc: OidcProvider | None = None

    @classmethod
    def over(
        cls, jet: Jet, seal: Seal, *, clock: Callable[[], float], oidc: OidcProvider | None = None
    ) -> Self:
        bucket = PeopleBucket(jet)
        projects = ProjectStore(bucket, clock=clock)
        credentials = CredentialStore(bucket, clock=clock)
        return cls(
            bucket=bucket,
            users=UserStore(bucket, projects, credentials, clock=clock),
            projects=projects,
            credentials=credentials,
            authenticator=Authenticator(credentials),
            passwords=Passwords(),
            seal=seal,
            oidc=oidc,
        )

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.bucket.run(), name="follow the bucket of people")
                group.create_task(self.authenticator.run(), name="use of credentials")
        finally:
            self.passwords.close()


def people(connection: HTTPConnection) -> People:
    found = web(connection).people
    assert found is not None
    return found
