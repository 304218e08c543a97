"""Users, projects, tokens and logins over REST, on real orchestrators and a real broker."""

from __future__ import annotations

import asyncio
import itertools
import stat
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from broker_config.embedded_server import EmbeddedServer
from broker_config.people import ApiToken, Login, Project
from orchestrator.core.principals import IDLE
from tests.support.people_scene import PASSWORD, Asker, Scene, people_scene
from tests.support.waiting import eventually

_numbers = itertools.count(1)
SPEC: dict[str, Any] = {"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 2}


@pytest_asyncio.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("people")
    async with (
        EmbeddedServer(folder / "broker", sync_always=False) as server,
        people_scene(
            server.url,
            folder / "data",
            public_origins=["https://tb.example"],
            # Where others come from elsewhere loopback is not free.
            allowed_origins=["http://127.0.0.1:1"],
        ) as scene,
    ):
        yield scene


@pytest_asyncio.fixture(scope="module")
async def other(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A second orchestrator on the same broker."""
    folder = tmp_path_factory.mktemp("other")
    async with people_scene(scene.orchestrator.config.nats, folder) as other:
        yield other


@pytest.fixture
def name() -> str:
    return f"person{next(_numbers)}"


@pytest.fixture
def project() -> str:
    return f"project{next(_numbers)}"


async def refused(asker: Asker, path: str = "/me") -> bool:
    return (await asker.ask("GET", path)).status_code == 401


# --- who comes in ---------------------------------------------------------------------------------------


async def test_the_machines_own_credential_is_an_admin(scene: Scene) -> None:
    me = await scene.admin.get("/me")
    assert (me["kind"], me["role"], me["all_projects"]) == ("local", "admin", True)
    nobody = scene.asker()
    assert (await nobody.get("/me"))["role"] is None
    assert (await nobody.ask("GET", "/jobs")).status_code == 401
    wrong = scene.asker("tb_0123456789abcdef_" + "x" * 43)
    assert (await wrong.ask("GET", "/jobs")).status_code == 401
    assert (await scene.asker("nonsense").ask("GET", "/me")).status_code == 401


async def test_its_file_is_kept_and_a_revoked_or_open_one_is_made_anew(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats, file = scene.orchestrator.config.nats, tmp_path / "admin.token"
    async with people_scene(nats, tmp_path):
        first = file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with people_scene(nats, tmp_path) as again:
        assert file.read_text() == first
        id = first.split("_")[1]
        assert (await again.admin.ask("DELETE", f"/tokens/{id}")).status_code == 200
        assert await refused(again.admin)
    async with people_scene(nats, tmp_path) as anew:
        second = file.read_text()
        assert second != first
        assert (await anew.admin.get("/me"))["role"] == "admin"
    file.chmod(0o644)
    async with people_scene(nats, tmp_path):
        assert (third := file.read_text()) not in (first, second)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Put there by somebody else, who would be an admin by it.
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: file.stat().st_uid + 1)
        async with people_scene(nats, tmp_path):
            assert file.read_text() != third


async def test_a_login_by_cookie(scene: Scene, name: str) -> None:
    await scene.admin.post("/users", {"name": name, "role": "operator", "password": PASSWORD})
    browser = scene.asker()
    answer = await browser.ask("POST", "/login", {"name": name, "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json()["secret"] == ""
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "__host-" not in cookie  # plain http on loopback
    me = await browser.get("/me")
    assert (me["kind"], me["name"], me["role"]) == ("user", name, "operator")
    # What is in the cookie is no bearer's.
    (secret,) = [c.value for c in browser.http.cookies.jar]
    assert secret is not None
    assert await refused(scene.asker(secret))
    out = await browser.ask("POST", "/logout", headers={"Sec-Fetch-Site": "same-origin"})
    assert out.status_code == 200
    again = scene.asker(cookies={answer.headers["set-cookie"].partition("=")[0]: secret})
    assert await refused(again)


async def test_a_cookie_goes_by_tls_or_stays_on_the_machine(scene: Scene, name: str) -> None:
    await scene.admin.post("/users", {"name": name, "password": PASSWORD})
    body, asker = {"name": name, "password": PASSWORD}, scene.asker()
    # As a proxy that speaks TLS to the browser sends it on.
    by_tls = await asker.ask("POST", "/login", body, headers={"Host": "tb.example"})
    cookie = by_tls.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "; secure" in cookie.lower()
    plain = await asker.ask("POST", "/login", body, headers={"Host": "192.0.2.1"})
    assert plain.status_code == 403
    assert "set-cookie" not in plain.headers
    bearer = await asker.ask("POST", "/login", body | {"keep": "bearer"}, headers={"Host": "192.0.2.1"})
    assert bearer.status_code == 200


async def test_while_the_broker_is_away_nobody_is_let_in(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with EmbeddedServer(tmp_path / "broker", sync_always=False) as server:
            scene = await stack.enter_async_context(people_scene(server.url, tmp_path / "data"))
            assert await answers(scene.admin, 200)
        await eventually(lambda: answers(scene.admin, 503), 5, what="503 while the broker is away")
        port = urlsplit(server.url).port or 0
        async with EmbeddedServer(tmp_path / "broker", port=port, sync_always=False):
            await eventually(lambda: answers(scene.admin, 200), 15, what="the broker is back")
            id, token = await scene.token(scene.admin)
            await scene.admin.ask("DELETE", f"/tokens/{id}")
            assert await refused(token)
            await stack.aclose()


@pytest.mark.parametrize("known", [True, False, None])
async def test_a_login_is_refused_in_the_same_words(scene: Scene, name: str, known: bool | None) -> None:
    if known is not None:
        await scene.admin.post("/users", {"name": name, "password": PASSWORD})
        await scene.admin.ask("PATCH", f"/users/{name}", {"disabled": known})
    password = PASSWORD if known is not False else "wrong"
    answer = await scene.asker().ask("POST", "/login", {"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "name and password do not fit, or the user is disabled"
    assert "set-cookie" not in answer.headers


async def test_an_unknown_name_takes_as_long_as_a_known_one(scene: Scene, name: str) -> None:
    await scene.admin.post("/users", {"name": name, "password": PASSWORD})
    asker = scene.asker()

    async def took(who: str) -> float:
        start = time.perf_counter()
        await asker.ask("POST", "/login", {"name": who, "password": "wrong password"})
        return time.perf_counter() - start

    await took(name)
    pairs = [(await took(name), await took("nobody-of-this-name")) for _ in range(3)]
    known, unknown = (min(times) for times in zip(*pairs, strict=True))
    # Argon2 takes tens of milliseconds; without it an answer takes two or three.
    assert unknown > known / 2


async def test_a_command_line_logs_in_by_a_bearers_secret(scene: Scene, name: str) -> None:
    await scene.admin.post("/users", {"name": name, "password": PASSWORD})
    body = {"name": name, "password": PASSWORD, "keep": "bearer"}
    made = await scene.asker().post("/login", body, status=200)
    user = scene.asker(made["secret"])
    assert (await user.get("/me"))["kind"] == "user"
    # It is no cookie's, and does not end by being idle.
    authenticator, now = scene.orchestrator.people.authenticator, time.time()
    assert await authenticator.cookie(made["secret"], now) is None
    assert await authenticator.bearer(made["secret"], now + 29 * 86_400) is not None
    assert await authenticator.bearer(made["secret"], now + 31 * 86_400) is None
    assert (await user.post("/logout", status=200))["name"] == name
    assert await refused(user)


async def test_a_login_ends_by_being_idle_and_at_its_time(scene: Scene, name: str) -> None:
    await scene.admin.post("/users", {"name": name, "password": PASSWORD})
    browser = scene.asker()
    await browser.ask("POST", "/login", {"name": name, "password": PASSWORD})
    (secret,) = [c.value for c in browser.http.cookies.jar]
    assert secret is not None
    people = scene.orchestrator.people
    authenticator, now = people.authenticator, time.time()
    assert await authenticator.cookie(secret, now) is not None
    assert await authenticator.cookie(secret, now + IDLE + 1) is None
    # Use keeps it alive, also while that is not written down.
    assert await authenticator.cookie(secret, now + IDLE - 1) is not None
    assert await authenticator.cookie(secret, now + IDLE + 1) is not None
    await authenticator.note()
    (login,) = [x for x in people.bucket.all(Login) if x.user == name]
    assert login.last_used_at == now + IDLE + 1
    assert await authenticator.cookie(secret, login.expires_at - 1) is None
    for at in range(1, 12):
        await authenticator.cookie(secret, now + at * IDLE)
    assert await authenticator.cookie(secret, login.expires_at - 1) is not None
    assert await authenticator.cookie(secret, login.expires_at) is None


# --- what a token may -----------------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_never_more_than_its_owner(
    scene: Scene, name: str, project: str
) -> None:
    await scene.admin.post("/projects", {"name": project})
    user = await scene.user(name, "operator", **{project: "operator"})
    id, token = await scene.token(user, role="admin")
    assert (await token.get("/me"))["projects"] == {project: "operator"}
    assert (await token.get("/me"))["role"] == "operator"
    listed = (await user.get("/tokens"))["items"]
    assert [t["id"] for t in listed] == [id]
    assert "secret" not in str(listed)
    assert "secret_hash" not in str(await scene.admin.get("/tokens"))
    # The owner loses a role: the token too, at once.
    await scene.admin.ask("PATCH", f"/users/{name}", {"role": "viewer"})
    await scene.admin.ask("DELETE", f"/projects/{project}/members/{name}")
    assert (await token.get("/me"))["role"] == "viewer"
    assert (await token.get("/me"))["projects"] == {}


async def test_a_narrowed_token_cannot_widen_itself(scene: Scene, project: str) -> None:
    await scene.admin.post("/projects", {"name": project})
    _, token = await scene.token(scene.admin, projects=[project], life=3600.0)
    me = await token.get("/me")
    assert (me["role"], me["projects"], me["all_projects"]) == ("viewer", {project: "admin"}, False)
    assert (await token.ask("GET", "/users")).status_code == 403
    for body in (
        {"name": "x"},
        {"name": "x", "projects": [project]},
        {"name": "x", "projects": ["default"], "life": 60.0},
    ):
        assert (await token.ask("POST", "/tokens", body)).status_code in (403, 404), body
    fine = await token.ask("POST", "/tokens", {"name": "x", "projects": [project], "life": 600.0})
    assert fine.status_code == 201
    assert (await token.get("/projects"))["items"][0]["name"] == project
    assert (await token.ask("GET", "/projects/default")).status_code == 404


async def test_what_is_made_with_a_token_ends_with_it(scene: Scene, name: str, project: str) -> None:
    await scene.admin.post("/projects", {"name": project})
    user = await scene.user(name, "viewer", **{project: "operator"})
    id, token = await scene.token(user, role="operator", life=3600.0)
    child_id, child = await scene.token(token, role="viewer", life=600.0)
    _, grandchild = await scene.token(child, role="viewer", life=60.0)
    # It ends what has no more than itself, and nothing else.
    above = await child.ask("DELETE", f"/tokens/{id}")
    assert (above.status_code, "role operator" in above.json()["detail"]) == (403, True)
    narrow_id, narrow = await scene.token(user, role="viewer", projects=[project])
    assert (await narrow.ask("DELETE", f"/tokens/{child_id}")).status_code == 403
    assert (await child.ask("DELETE", f"/tokens/{narrow_id}")).status_code == 200
    await grandchild.get("/me")
    assert (await user.ask("DELETE", f"/tokens/{id}")).status_code == 200
    assert [await refused(t) for t in (token, child, grandchild)] == [True] * 3
    assert (await user.get("/tokens"))["items"] == []


async def test_tokens_of_others_are_like_those_that_do_not_exist(scene: Scene, name: str) -> None:
    user, stranger = await scene.user(name), await scene.user(f"{name}-b")
    id, token = await scene.token(user)
    foreign = await stranger.ask("DELETE", f"/tokens/{id}")
    missing = await stranger.ask("DELETE", "/tokens/0123456789abcdef")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.json()["detail"].replace(id, "X") == missing.json()["detail"].replace(
        "0123456789abcdef", "X"
    )
    assert (await stranger.get("/tokens"))["items"] == []
    assert not await refused(token)
    assert (await scene.admin.ask("DELETE", f"/tokens/{id}")).status_code == 200
    assert await refused(token)


async def test_a_token_expires_and_knows_when_it_was_used(scene: Scene, name: str) -> None:
    user = await scene.user(name)
    made = await user.post("/tokens", {"name": "short", "life": 60.0})
    authenticator, now = scene.orchestrator.people.authenticator, time.time()
    assert await authenticator.bearer(made["secret"], now) is not None
    assert await authenticator.bearer(made["secret"], now + 61) is None
    await authenticator.note()
    (token,) = (await user.get("/tokens"))["items"]
    assert token["last_used_at"] == pytest.approx(now, abs=2)
    version = authenticator.version
    assert await authenticator.bearer(made["secret"], now + 30) is not None
    await authenticator.note()
    # Not worth a word yet, and no change of what anybody may.
    assert (await user.get("/tokens"))["items"] == [token]
    assert authenticator.version == version


# --- elsewhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["revoke", "disable", "remove", "password"])
async def test_what_ends_here_ends_at_the_other_orchestrator(
    scene: Scene, other: Scene, name: str, way: str
) -> None:
    user = await scene.user(name, password=PASSWORD if way == "password" else None)
    id, token = await scene.token(user)
    elsewhere = other.asker(token.http.headers["authorization"].split()[1])
    me = await elsewhere.get("/me")  # made a moment ago, and known there already
    authenticator = other.orchestrator.people.authenticator
    found = await authenticator.bearer(token.http.headers["authorization"].split()[1], time.time())
    assert found is not None
    assert me["name"] == name
    told = asyncio.create_task(authenticator.wait_changed(authenticator.version))
    match way:
        case "revoke":
            answer = await user.ask("DELETE", f"/tokens/{id}")
        case "disable":
            answer = await scene.admin.ask("PATCH", f"/users/{name}", {"disabled": True})
        case "remove":
            answer = await scene.admin.ask("DELETE", f"/users/{name}")
        case "password":
            answer = await user.ask(
                "POST", f"/users/{name}/password", {"password": PASSWORD + "2", "current": PASSWORD}
            )
    start = time.monotonic()
    assert answer.status_code == 200, answer.text
    assert await refused(token)
    async with asyncio.timeout(2):
        await told
    await eventually(lambda: refused(elsewhere), 2, what="refused at the other one")
    assert await authenticator.valid(found, time.time()) is None
    assert time.monotonic() - start < 2


async def test_a_user_who_comes_back_does_not_have_what_was_theirs(scene: Scene, name: str) -> None:
    user = await scene.user(name, "operator", default="operator")
    people = scene.orchestrator.people
    _, token = await scene.token(user)
    kept = [t for t in people.bucket.all(ApiToken) if t.owner == name]
    await scene.admin.ask("DELETE", f"/users/{name}")
    assert [t for t in people.bucket.all(ApiToken) if t.owner == name] == []
    again = await scene.user(name)
    assert (await again.get("/me"))["projects"] == {}
    # Even if its document had been left behind.
    await people.credentials.put_token(
        kept[0], (await people.bucket.read(ApiToken, f"token.{kept[0].id}"))[1]
    )
    assert await refused(token)


async def test_a_new_user_is_a_member_of_nothing(scene: Scene, name: str, project: str) -> None:
    await scene.admin.post("/projects", {"name": project})

    def left_over(found: Project) -> Project:
        # As by somebody who made an earlier one of that name a member while it was being removed.
        return msgspec.structs.replace(found, members={name: "admin"})

    bucket = scene.orchestrator.people.bucket
    await bucket.change(Project, f"project.{project}", left_over, AssertionError)
    user = await scene.user(name)
    assert (await user.get("/me"))["projects"] == {}


async def test_who_changes_the_same_thing_at_once_loses_nothing(
    scene: Scene, other: Scene, project: str
) -> None:
    await scene.admin.post("/projects", {"name": project})
    names = [f"{project}-{n}" for n in range(8)]
    await asyncio.gather(*(scene.admin.post("/users", {"name": n}) for n in names))
    await eventually(
        lambda: all(n in str(other.orchestrator.people.bucket._cache["user"].keys()) for n in names), 2
    )
    sides = itertools.cycle([scene.admin, other.admin])
    answers = await asyncio.gather(
        *(next(sides).ask("PUT", f"/projects/{project}/members/{n}", {"role": "viewer"}) for n in names)
    )
    assert {a.status_code for a in answers} == {200}
    assert set((await scene.admin.get(f"/projects/{project}"))["members"]) == set(names)


# --- users and projects ---------------------------------------------------------------------------------


async def test_users_are_kept_by_admins(scene: Scene, name: str) -> None:
    user = await scene.user(name, "operator", password=PASSWORD)
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"name": "x"}),
        ("PATCH", f"/users/{name}", {"role": "admin"}),
        ("DELETE", f"/users/{name}", None),
        ("POST", "/projects", {"name": "x"}),
    ):
        assert (await user.ask(method, path, body)).status_code == 403, path
    other_password = await user.ask("POST", "/users/local/password", {"password": PASSWORD})
    assert other_password.status_code == 404
    wrong = await user.ask("POST", f"/users/{name}/password", {"password": PASSWORD, "current": "no"})
    assert wrong.status_code == 422
    assert (await scene.admin.ask("POST", "/users", {"name": name})).status_code == 409
    for bad in ("local", "anonymous", "a.b", "", "x" * 65):
        assert (await scene.admin.ask("POST", "/users", {"name": bad})).status_code == 422, bad
    short = await scene.admin.ask("POST", "/users", {"name": f"{name}2", "password": "short"})
    assert short.status_code == 422
    seen = await scene.admin.get(f"/users/{name}")
    assert seen["login"] == ["password"]
    assert "hash" not in str(seen)
    gone = await scene.admin.ask("DELETE", f"/users/{name}")
    assert gone.status_code == 200
    assert (await scene.admin.ask("GET", f"/users/{name}")).status_code == 404
    assert await refused(user)


async def test_projects_and_their_keepers(scene: Scene, name: str, project: str) -> None:
    made = await scene.admin.post("/projects", {"name": project, "quotas": {"jobs": 3}})
    assert made["quotas"] == {"jobs": 3}
    assert (await scene.admin.ask("POST", "/projects", {"name": project})).status_code == 409
    assert (await scene.admin.ask("POST", "/projects", {"name": "default"})).status_code == 409
    keeper = await scene.user(name, "viewer", **{project: "admin"})
    member = await scene.user(f"{name}-m", "viewer", **{project: "viewer"})
    stranger = await scene.user(f"{name}-s")
    put = f"/projects/{project}/members/{name}-s"
    assert (await member.ask("PUT", put, {"role": "viewer"})).status_code == 403
    assert (await stranger.ask("PUT", put, {"role": "admin"})).status_code == 404
    assert (await keeper.ask("PUT", put, {"role": "operator"})).status_code == 200
    assert (await stranger.get("/me"))["projects"] == {project: "operator"}
    assert (
        await keeper.ask("PUT", f"/projects/{project}/members/nobody", {"role": "viewer"})
    ).status_code == 404
    assert set((await keeper.get(f"/projects/{project}"))["members"]) == {name, f"{name}-m", f"{name}-s"}
    assert (await member.get(f"/projects/{project}"))["members"] == {}
    assert (await keeper.ask("PATCH", f"/projects/{project}", {"jobs": 99})).status_code == 403
    changed = await scene.admin.ask("PATCH", f"/projects/{project}", {"jobs": None, "egress": False})
    assert changed.json()["quotas"] == {"egress": False}
    assert (await scene.admin.ask("PATCH", f"/projects/{project}", {"jobs": -1})).status_code == 422
    assert (await scene.admin.ask("DELETE", "/projects/default")).status_code == 422
    assert (await scene.admin.ask("DELETE", f"/projects/{project}")).status_code == 200
    assert (await keeper.ask("GET", f"/projects/{project}")).status_code == 404
    assert "default" in [p["name"] for p in (await scene.admin.get("/projects"))["items"]]


# --- quotas ---------------------------------------------------------------------------------------------


async def test_quotas_hold_whoever_submits_at_once(scene: Scene, other: Scene, project: str) -> None:
    quotas = {"jobs": 3, "vus": 2, "sessions": 5, "egress": False}
    await scene.admin.post("/projects", {"name": project, "quotas": quotas})
    await eventually(lambda: other.orchestrator.people.bucket.cached(Project, project), 2)
    at = f"/jobs?project={project}"
    sides = itertools.cycle([scene.admin, other.admin])
    answers = await asyncio.gather(*(next(sides).ask("POST", at, SPEC) for _ in range(8)))
    taken = [a.json()["job"]["id"] for a in answers if a.status_code == 201]
    assert sorted(a.status_code for a in answers) == [201] * 3 + [422] * 5
    assert "3 jobs of this project are not finished" in str([a.text for a in answers])
    assert (await scene.admin.ask("POST", "/jobs", SPEC)).status_code == 201  # another project
    listed = (await scene.admin.get(f"/jobs?project={project}"))["items"]
    assert {j["id"] for j in listed} == set(taken)
    # One ends: there is room again.
    await scene.admin.ask("POST", f"/jobs/{taken[0]}/cancel")
    await eventually(lambda: finished(scene.admin, taken[0]), 10, what="cancelled")
    key = {"Idempotency-Key": "again"}
    first = await scene.admin.ask("POST", at, SPEC, headers=key)
    assert first.status_code == 201
    repeated = await scene.admin.ask("POST", at, SPEC, headers=key)
    again = first.json()["job"]["id"]
    assert (repeated.status_code, repeated.json()["job"]["id"]) == (200, again)
    assert (await scene.admin.ask("POST", at, SPEC)).status_code == 422
    # The key still leads to its job when that is over, and others have its place.
    await scene.admin.ask("POST", f"/jobs/{again}/cancel")
    await eventually(lambda: finished(scene.admin, again), 10, what="cancelled")
    assert (await scene.admin.ask("POST", at, SPEC)).status_code == 201
    repeated = await scene.admin.ask("POST", at, SPEC, headers=key)
    assert (repeated.status_code, repeated.json()["job"]["id"]) == (200, again)
    await scene.admin.ask("PATCH", f"/projects/{project}", {"jobs": None})
    for change, where in (
        ({"sessions": 6}, "sessions"),
        ({"load": {"vus": 3}}, "load"),
        ({"egress": {"proxies": ["127.0.0.1:9"]}}, "egress"),
    ):
        answer = await scene.admin.ask("POST", at, SPEC | change)
        assert answer.status_code == 422
        assert [e["where"] for e in answer.json()["errors"]] == [where]


async def test_jobs_from_before_a_quota_count_too(scene: Scene, project: str) -> None:
    await scene.admin.post("/projects", {"name": project})
    for _ in range(2):
        await scene.admin.post(f"/jobs?project={project}", SPEC)
    await scene.admin.ask("PATCH", f"/projects/{project}", {"jobs": 2})
    assert (await scene.admin.ask("POST", f"/jobs?project={project}", SPEC)).status_code == 422


async def answers(asker: Asker, status: int) -> bool:
    return (await asker.ask("GET", "/me")).status_code == status


async def finished(asker: Asker, job: str) -> bool:
    return bool((await asker.get(f"/jobs/{job}"))["job"]["state"] == "finished")
