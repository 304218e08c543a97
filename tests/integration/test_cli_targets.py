"""`tb targets …` against a served application, a real broker and a site on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from click.testing import Result
from typer.testing import CliRunner

from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.provisioning import provision
from broker_config.target_proof import WELL_KNOWN
from cli.tb import app
from tests.support.target_parts import ProvingSite, proving_site
from tests.support.web_parts import MemoryAuditLog, stage

Tb = Callable[..., Awaitable[Result]]


class Scene:
    def __init__(self, tb: Tb, site: ProvingSite, audits: MemoryAuditLog) -> None:
        self.tb = tb
        self.site = site
        self.audits = audits
        self.origin = f"http://localhost:{site.port}"

    async def target(self, **only: str) -> dict[str, object]:
        rows = [json.loads(line) for line in (await self.tb("list", "--json")).stdout.splitlines()]
        return next(r for r in rows if r["origin"] == self.origin)


@pytest_asyncio.fixture
async def scene(broker: EmbeddedServer) -> AsyncIterator[Scene]:
    async with (
        connected(broker.url, name="cli targets test") as nc,
        stage(nc) as web,
        proving_site() as site,
    ):
        await provision(nc)

        async def run(*arguments: str) -> Result:
            words = ["--server", web.server.url, "targets", *arguments]
            result = await asyncio.to_thread(CliRunner().invoke, app, words)
            assert "Traceback" not in result.output
            return result

        log = web.state.audit_log
        assert isinstance(log, MemoryAuditLog)
        yield Scene(run, site, log)


async def test_from_the_name_to_the_proof(scene: Scene) -> None:
    added = await scene.tb("add", f"{scene.origin}/some/page?x")
    assert added.exit_code == 0
    target = await scene.target()
    put = target["put"]
    assert isinstance(put, list)
    file, txt, meta = (p["what"] for p in put)
    assert f"{scene.origin}{WELL_KNOWN}" in added.stdout
    assert "TXT record of _trafficbuster.localhost" in added.stdout
    assert file in added.stdout
    assert meta in added.stdout
    assert f"then: tb targets verify {scene.origin}" in added.stdout

    missing = await scene.tb("verify", scene.origin, "--method", "file")
    assert (missing.exit_code, "status 404" in missing.stderr) == (1, True)
    scene.site.pages[WELL_KNOWN] = (200, "", f"{txt}\n".encode())
    found = await scene.tb("verify", scene.origin, "--method", "file")
    assert (found.exit_code, "is proved (file)" in found.stderr) == (0, True)
    assert (await scene.target())["state"] == "verified"
    assert "is proved already" in (await scene.tb("add", scene.origin)).stdout
    assert scene.origin in (await scene.tb("list")).stdout


async def test_ceilings_grants_and_the_end(scene: Scene) -> None:
    await scene.tb("add", scene.origin)
    token = (await scene.target())["put"]
    told = await scene.tb("set", scene.origin, "--sessions", "5", "--rate", "2.5")
    assert "5 at once, 2.5/s" in told.stderr
    await scene.tb("set", scene.origin, "--rate", "none")
    target = await scene.target()
    assert (target["sessions"], target["rate"]) == (5, None)

    granted = await scene.tb("grant", scene.origin, "--without-proof")
    assert "without proof" in granted.stderr
    grant = (await scene.target())["grant"]
    assert isinstance(grant, dict)
    assert grant["without_proof"] is True
    await scene.tb("grant", scene.origin, "--withdraw")
    assert (await scene.target())["grant"] is None

    assert (await scene.tb("remove", scene.origin)).exit_code == 0
    again = await scene.tb("remove", scene.origin)
    assert (again.exit_code, "has no target" in again.stderr) == (2, True)
    await scene.tb("add", scene.origin)
    assert (await scene.target())["put"] != token, "what proved it then proves nothing now"
    noted = [(n.action, n.object) for n in scene.audits.notes]
    for action in ("target.add", "target.ceiling", "target.grant", "target.remove"):
        assert (action, f"default {scene.origin}") in noted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "shop.example"], "is not an absolute http:// or https:// URL"),
        (["add", "http://0x7f.1"], "no address as it is usually written"),
        (["set", "https://a.example"], "say what to set"),
        (["set", "https://a.example", "--sessions", "0"], "--sessions"),
        (["set", "https://a.example", "--sessions", "some"], "--sessions"),
        (["set", "https://a.example", "--rate", "nan"], "--rate"),
        (["verify", "https://a.example"], "project default has no target"),
        (["list", "--project", "nobody"], "there is no project"),
    ],
)
async def test_what_is_wrong_is_said(scene: Scene, words: list[str], told: str) -> None:
    result = await scene.tb(*words)
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
