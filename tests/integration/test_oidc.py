"""Login by an OpenID provider: a real one on loopback, and what it must not get through."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey, OctKey, RSAKey

from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SettingsError
from orchestrator.core.oidc_claims import OidcSettings
from orchestrator.web.oidc_provider import OidcFailed, OidcProvider
from tests.support.oidc_provider import CLIENT, SECRET, Provider, oidc_provider
from tests.support.people_scene import Scene, people_scene

START = "/api/v1/oidc/start"


@pytest_asyncio.fixture(scope="module")
async def provider() -> AsyncIterator[Provider]:
    async with oidc_provider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module")
async def scene(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(SECRET + "\n")
    settings = OidcSettings(
        issuer=provider.url,
        client_id=CLIENT,
        secret_file=str(folder / "secret"),
        role_claim="groups",
        roles={"testers": "operator", "keepers": "admin"},
    )
    async with (
        EmbeddedServer(folder / "broker", sync_always=False) as server,
        people_scene(server.url, folder / "data", oidc=settings) as scene,
    ):
        yield scene


@pytest.fixture(autouse=True)
def honest(provider: Provider) -> None:
    """Each test begins with a provider that tells the truth."""
    provider.tell_the_truth()
    provider.claims = {"sub": "1234", "preferred_username": "ada", "groups": ["testers", "others"]}


async def logged_in(scene: Scene, **options: Any) -> tuple[httpx.AsyncClient, httpx.Response]:
    """A browser that was sent to the provider and back, and the answer that it got then."""
    browser = httpx.AsyncClient(trust_env=False, **options)
    sent = await browser.get(scene.url + START)
    assert sent.status_code == 303, sent.text
    back = await browser.get(sent.headers["location"])
    return browser, await browser.get(back.headers["location"])


async def test_who_comes_for_the_first_time_is_a_user_from_then_on(scene: Scene, provider: Provider) -> None:
    browser, answer = await logged_in(scene)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "samesite=strict" in answer.headers.get_list("set-cookie")[0].lower()
    me = (await browser.get(f"{scene.url}/api/v1/me")).json()
    assert (me["kind"], me["name"], me["role"], me["logins"]) == (
        "user",
        "ada",
        "operator",
        ["password", "oidc"],
    )
    # Another name and another role there: the same user here.
    provider.claims |= {"preferred_username": "countess", "groups": "keepers"}
    again, _ = await logged_in(scene)
    me = (await again.get(f"{scene.url}/api/v1/me")).json()
    assert (me["name"], me["role"]) == ("ada", "admin")
    await scene.admin.ask("PATCH", "/users/ada", {"disabled": True})
    _, refused = await logged_in(scene)
    assert refused.status_code == 403
    assert (await again.get(f"{scene.url}/api/v1/jobs")).status_code == 401
    await scene.admin.ask("DELETE", "/users/ada")


async def test_a_name_of_somebody_else_is_not_taken_over(scene: Scene, provider: Provider) -> None:
    await scene.admin.post("/users", {"name": "grace", "role": "admin"})
    provider.claims |= {"sub": "stranger", "preferred_username": "grace"}
    browser, answer = await logged_in(scene)
    assert answer.status_code == 409
    assert "tb-login" not in str(browser.cookies)
    identity = f"{provider.url}|stranger"
    assert identity in answer.json()["detail"]
    # An admin says that it is her.
    await scene.admin.ask("PATCH", "/users/grace", {"oidc": identity})
    browser, _ = await logged_in(scene)
    assert (await browser.get(f"{scene.url}/api/v1/me")).json()["name"] == "grace"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"nonce": "another"}, 502),
        ({"nonce": None}, 502),
        ({"aud": "another"}, 502),
        ({"aud": [CLIENT, "another"]}, 502),
        ({"azp": "another"}, 502),
        ({"iss": "https://another.example"}, 502),
        ({"exp": time.time() - 3600}, 502),
        ({"exp": None}, 502),
        ({"sub": None}, 502),
        ({"groups": []}, 403),
        ({"groups": {"testers": 1}}, 403),
        ({"preferred_username": None}, 403),
        ({"preferred_username": "local"}, 403),
        ({"preferred_username": "…"}, 403),
    ],
)
async def test_what_does_not_hold_lets_nobody_in(
    scene: Scene, provider: Provider, claims: dict[str, Any], status: int
) -> None:
    provider.claims |= {"sub": "nobody", "preferred_username": "nobody"} | claims
    browser, answer = await logged_in(scene)
    assert answer.status_code == status, answer.text
    assert "tb-login" not in str(browser.cookies)
    assert "nobody" not in str(await scene.admin.get("/users"))


async def test_only_the_provider_can_sign(scene: Scene, provider: Provider) -> None:
    # Another key under the same name, and one that it does not publish.
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert (await logged_in(scene))[1].status_code == 502
    provider.key = RSAKey.generate_key(2048, {"kid": "unknown"})
    assert (await logged_in(scene))[1].status_code == 502


async def subject(own: OidcProvider) -> Any:
    """Who it is that has just logged in."""
    url, flow = await own.begin("http://127.0.0.1/back", time.time())
    async with httpx.AsyncClient(trust_env=False) as http:
        back = await http.get(url)
    code = httpx.URL(back.headers["location"]).params["code"]
    return (await own.finish(flow, code, time.time()))["sub"]


async def test_a_new_key_is_looked_up_once_in_a_while(provider: Provider, tmp_path: Path) -> None:
    now = 0.0
    own = OidcProvider(settings_of(provider, tmp_path), monotonic=lambda: now)
    assert await subject(own) == "1234"
    provider.key = ECKey.generate_key("P-256", {"kid": "two"})
    provider.algorithm, provider.published = "ES256", [provider.key]
    now = 10.0
    with pytest.raises(OidcFailed, match="does not name as its own"):
        await subject(own)
    now = 60.0
    assert await subject(own) == "1234"


async def test_a_secret_that_both_know_signs_nothing(provider: Provider, tmp_path: Path) -> None:
    own = OidcProvider(settings_of(provider, tmp_path), monotonic=time.monotonic)
    provider.key = OctKey.generate_key(256, {"kid": "shared"})
    provider.algorithm, provider.published = "HS256", [provider.key]
    with pytest.raises(OidcFailed, match="signature"):
        await subject(own)


def settings_of(provider: Provider, folder: Path) -> OidcSettings:
    (folder / "secret").write_text(SECRET + "\n")
    return OidcSettings(issuer=provider.url, client_id=CLIENT, secret_file=str(folder / "secret"))


async def test_a_flow_belongs_to_one_browser_and_one_attempt(scene: Scene, provider: Provider) -> None:
    async with (
        httpx.AsyncClient(trust_env=False) as victim,
        httpx.AsyncClient(trust_env=False) as attacker,
    ):
        sent = await attacker.get(scene.url + START)
        back = await attacker.get(sent.headers["location"])
        there = back.headers["location"]
        # Somebody else's way back, in a browser that has begun one of its own, or none.
        assert (await victim.get(there)).status_code == 400
        await victim.get(scene.url + START)
        assert (await victim.get(there)).status_code == 400
        assert (await attacker.get(there)).status_code == 303
        # The code is used up, and so is the flow.
        assert (await attacker.get(there)).status_code == 400
        forged = {"tb-oidc": "00" * 80}
        assert (await httpx_get(there, forged)).status_code == 400
    provider.refusal = "access_denied"
    _, answer = await logged_in(scene)
    assert answer.status_code == 403
    assert "access_denied" in answer.json()["detail"]


async def httpx_get(url: str, cookies: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, cookies=cookies) as http:
        return await http.get(url)


@pytest.mark.parametrize("issuer", ["http://sso.example", "sso.example", "", "ftp://127.0.0.1"])
def test_a_provider_without_tls_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match="https://"):
        OidcProvider(OidcSettings(issuer=issuer, client_id="x"), monotonic=time.monotonic)


async def test_without_a_provider_there_is_nothing(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    async with people_scene(own_broker.url, tmp_path / "data") as scene:
        assert (await scene.asker().ask("GET", "/oidc/start")).status_code == 404
