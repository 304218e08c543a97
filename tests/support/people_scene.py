"""For tests of who may what: real orchestrators that are closed, and people who ask them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from broker_config.api import API_PREFIX
from orchestrator.service import Orchestrator
from orchestrator.settings import OrchestratorConfig

PASSWORD = "correct horse battery"


class Asker:
    """A client of one orchestrator with one credential, or none."""

    def __init__(self, url: str, secret: str = "", **options: Any) -> None:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self.http = httpx.AsyncClient(base_url=url + API_PREFIX, headers=headers, trust_env=False, **options)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return await self.http.request(method, path, **options)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, status: int = 201) -> Any:
        answer = await self.ask("POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()


class Scene:
    """`admin` has the credential that the orchestrator has put into its data directory."""

    def __init__(self, orchestrator: Orchestrator, data_dir: Path) -> None:
        self.orchestrator = orchestrator
        self.url = orchestrator.url
        self.admin = self.asker((data_dir / "admin.token").read_text().strip())

    def asker(self, secret: str = "", **options: Any) -> Asker:
        return Asker(self.url, secret, **options)

    async def user(
        self, name: str, role: str = "viewer", *, password: str | None = None, **projects: str
    ) -> Asker:
        """A new user, logged in as a command line."""
        body = {"name": name, "role": role, "password": password, "projects": projects}
        await self.admin.post("/users", body)
        # Without a password's time, where it is not about passwords.
        user = await self.orchestrator.people.users.get(name)
        _, secret = await self.orchestrator.people.credentials.log_in(
            user, address="", user_agent="", bearer=True
        )
        return self.asker(secret)

    async def token(self, asker: Asker, **body: Any) -> tuple[str, Asker]:
        """Id, and a client with it."""
        made = await asker.post("/tokens", {"name": "test", **body})
        return made["token"]["id"], self.asker(made["secret"])


@asynccontextmanager
async def people_scene(nats: str, data_dir: Path, **config: Any) -> AsyncIterator[Scene]:
    settings = OrchestratorConfig(nats=nats, port=0, data_dir=str(data_dir), login_limit=0, **config)
    async with Orchestrator(settings) as orchestrator:
        yield Scene(orchestrator, data_dir)
