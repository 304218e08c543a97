"""Who gets in, from which pages, how often: a real server, real clients, credentials in memory."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from broker_config.api import Fleet, Snapshot, SocketProblem
from broker_config.connection import connected
from broker_config.errors import SettingsError
from broker_config.provisioning import provision
from cli.client import Client, ServerError
from orchestrator.core.access import ANONYMOUS, Access
from orchestrator.core.served_names import ServedNames
from orchestrator.settings import OrchestratorConfig
from orchestrator.web import http_protocol, socket_watch, typed_route
from orchestrator.web.opening import Opening, as_anonymous
from orchestrator.web.rate_limit import RateLimits
from orchestrator.web.tls import server_context
from orchestrator.web.typed_route import GuardedRoute, TypedRoute
from tests.support.certificate import make_certificate
from tests.support.report_shots import chromium
from tests.support.web_parts import NO_LIMITS, SPEC, MemoryAuditLog, Socket, Stage, stage


@pytest_asyncio.fixture(scope="module", autouse=True)
async def provisioned(broker_url: str) -> None:
    async with connected(broker_url, name="provision") as client:
        await provision(client)


OWN = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def closed(nc: Any, **options: Any) -> AsyncIterator[tuple[Stage, httpx.AsyncClient]]:
    """A stage that is open to nobody, and a client without a credential."""
    async with (
        stage(nc, **{"anonymous": ANONYMOUS, **options}) as web,
        httpx.AsyncClient(base_url=web.api) as http,
    ):
        yield web, http


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"tb-login={secret}"}


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem: dict[str, Any] = answer.json()
    assert len(problem["detail"]) > 15
    return problem


# --- credentials ---------------------------------------------------------------------------------------


async def test_who_is_not_known_is_told_how_to_sign_in(nc):
    async with closed(nc) as (web, http):
        for headers in (
            {},
            bearer("wrong"),
            cookie("wrong"),
            {"Authorization": "Basic YTpi"},
            {"Authorization": "Bearer"},
        ):
            problem = refused(answer := await http.get("/jobs", headers=headers), 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "tb login" in problem["detail"]
        secret = web.people.put("anna", default="viewer")
        assert (await http.get("/jobs", headers=bearer(secret))).status_code == 200
        assert (await http.get("/jobs", headers=cookie(secret))).status_code == 200


async def test_a_bearer_request_takes_no_cookies(nc):
    async with closed(nc) as (web, http):
        good = web.people.put("anna", default="viewer")
        refused(await http.get("/jobs", headers=bearer("wrong") | cookie(good)), 401)
        assert (await http.get("/jobs", headers=bearer(good) | cookie("wrong"))).status_code == 200


async def test_a_wrong_credential_is_not_just_nobody(nc):
    """Where anybody may look, one whose token has ended is still told so."""
    async with closed(nc, anonymous=as_anonymous("viewer")) as (_, http):
        assert (await http.get("/jobs")).status_code == 200
        refused(await http.get("/jobs", headers=bearer("wrong")), 401)
        refused(await http.post("/jobs", json=SPEC), 401)
        assert (await http.get("/health", headers=bearer("wrong"))).status_code == 200


@pytest.mark.parametrize("query", ["token=x", "access_token=x", "Ticket=x", f"x=tb_{'0' * 16}_abc"])
async def test_a_credential_in_a_url_is_refused_in_words(nc, query):
    async with closed(nc) as (web, http):
        secret = web.people.put("anna", default="viewer")
        problem = refused(await http.get(f"/jobs?{query}", headers=bearer(secret)), 400)
        assert "Authorization: Bearer" in problem["detail"]
        with pytest.raises(InvalidStatus) as e:
            await connect(f"{web.ws_url}?{query}", additional_headers=bearer(secret))
        assert e.value.response.status_code == 400


async def test_nothing_of_the_body_is_read_for_those_who_may_not(nc):
    """A refusal comes while the body is still on its way."""
    async with closed(nc) as (web, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", web.server.port)
        writer.write(
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000\r\n\r\n{"
        )
        async with asyncio.timeout(5):
            assert b" 401 " in await reader.readline()
        writer.close()


def test_a_route_without_a_declaration_does_not_start():
    async def handler(request: Any) -> SocketProblem: ...

    with pytest.raises(TypeError, match="access"):
        TypedRoute("GET", "/x", handler, tag="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="access must be an Access"):
        TypedRoute("GET", "/x", handler, tag="x", access="public")  # type: ignore[arg-type]

    async def of(request: Any) -> Any: ...

    with pytest.raises(TypeError, match="does not matter"):
        GuardedRoute("/x", handler, methods=["GET"], access=Access(scope="fleet"), of=of)  # type: ignore[arg-type]


# --- projects ------------------------------------------------------------------------------------------


async def test_lists_are_narrowed_and_foreign_is_as_missing(nc):
    async with closed(nc) as (web, http):
        web.projects.names |= {"shop", "bank"}
        mine, theirs = web.jobs.add(project="shop"), web.jobs.add(project="bank")
        anna = bearer(web.people.put("anna", shop="operator"))
        shown = [j["id"] for j in (await http.get("/jobs", headers=anna)).json()["items"]]
        assert shown == [mine]
        assert (await http.get("/jobs?project=bank", headers=anna)).json()["items"] == []
        for path in ("", "/detail", "/sessions", "/artifacts", "/report", "/audit"):
            foreign = refused(await http.get(f"/jobs/{theirs}{path}", headers=anna), 404)
            missing = refused(await http.get(f"/jobs/nobodys{path}", headers=anna), 404)
            assert foreign["detail"].replace(theirs, "nobodys") == missing["detail"]
        name = f"{theirs}/1.1/shot.jpg"
        foreign = refused(await http.get(f"/artifacts/{name}", headers=anna), 404)
        missing = refused(await http.get("/artifacts/nobodys/1.1/shot.jpg", headers=anna), 404)
        assert foreign["detail"].replace(theirs, "nobodys") == missing["detail"]


async def test_a_job_is_of_the_project_it_is_submitted_to(nc):
    async with closed(nc) as (web, http):
        web.projects.names |= {"shop", "bank"}
        anna = bearer(web.people.put("anna", shop="operator", default="viewer"))
        made = (await http.post("/jobs?project=shop", json=SPEC, headers=anna)).json()["job"]
        assert (made["project"], made["submitted_by"]) == ("shop", "anna")
        refused(await http.post("/jobs", json=SPEC, headers=anna), 403)
        foreign = refused(await http.post("/jobs?project=bank", json=SPEC, headers=anna), 404)
        missing = refused(await http.post("/jobs?project=none", json=SPEC, headers=anna), 404)
        assert foreign["detail"].replace("bank", "none") == missing["detail"]
        admin = bearer(web.people.put("root", "admin"))
        refused(await http.post("/jobs?project=none", json=SPEC, headers=admin), 404)


# --- pages of others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [cookie, lambda secret: {}], ids=["cookie", "anonymous"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        # Another port of this machine is another origin.
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
    ],
    ids=str,
)
async def test_other_pages_change_nothing(nc, by, headers):
    async with closed(nc, anonymous=as_anonymous("admin")) as (web, http):
        job = web.jobs.add()
        mark = by(web.people.put("anna", default="operator"))
        headers = {k: web.server.url if v == "own" else v for k, v in headers.items()}
        refused(await http.post(f"/jobs/{job}/cancel", headers=mark | headers), 403)
        assert web.jobs.jobs[job].desired == "run"


async def test_own_pages_do(nc):
    async with closed(nc) as (web, http):
        mark = cookie(web.people.put("anna", default="operator"))
        for headers in (OWN, {"Origin": web.server.url}, OWN | {"Origin": web.server.url}):
            job = web.jobs.add()
            assert (await http.post(f"/jobs/{job}/cancel", headers=mark | headers)).status_code == 200
        # A cookie without a word about the page: an old browser, or none.
        refused(await http.post(f"/jobs/{job}/cancel", headers=mark), 403)
        plain = mark | OWN | {"Content-Type": "text/plain"}
        refused(await http.post("/jobs", content=b"{}", headers=plain), 415)


async def test_a_foreign_name_opens_nothing_on_loopback_either(nc):
    """DNS rebinding: the page of evil.example, whose name now leads to this machine."""
    async with closed(nc, anonymous=as_anonymous("admin"), names=ServedNames.of(["https://tb.example"])) as (
        web,
        http,
    ):
        for host in ("evil.example", f"evil.example:{web.server.port}", "127.0.0.1.evil.example"):
            for path in ("/jobs", "/health", "/openapi.json"):
                refused(await http.get(path, headers={"Host": host}), 421)
            refused(await http.post("/jobs", json=SPEC, headers={"Host": host} | OWN), 421)
            url = web.ws_url.replace("127.0.0.1", host.partition(":")[0])
            with pytest.raises(InvalidStatus) as e:
                await connect(url, host="127.0.0.1", port=web.server.port, origin=f"http://{host}")
            assert e.value.response.status_code == 421
        for host in ("localhost", "tb.example", f"127.0.0.1:{web.server.port}", "[::1]"):
            assert (await http.get("/jobs", headers={"Host": host})).status_code == 200


# --- headers -------------------------------------------------------------------------------------------


async def test_headers_of_every_answer(nc):
    async with closed(nc) as (web, http):
        job = web.jobs.add()
        web.jobs.add(job)
        anna = bearer(web.people.put("anna", default="viewer"))
        for path, headers in (
            ("/jobs", {}),
            ("/jobs", anna),
            (f"/jobs/{job}/report", anna),
            ("/nothing", {}),
            (f"{web.server.url}/", {}),
            ("/jobs", {"Host": "evil.example"}),
        ):
            got = (await http.get(path, headers=headers)).headers
            assert "unsafe" not in got["content-security-policy"]
            assert "frame-ancestors 'none'" in got["content-security-policy"]
            assert "base-uri 'none'" in got["content-security-policy"]
            assert len(got.get_list("content-security-policy")) == 1
            assert got["cross-origin-opener-policy"] == got["cross-origin-resource-policy"] == "same-origin"
            assert "camera=()" in got["permissions-policy"]
            assert got["referrer-policy"] == "no-referrer"
            assert "strict-transport-security" not in got


async def test_pages_pass_their_own_policy_in_a_browser(nc):
    """The style of the landing page and of a report gets through, and nothing is complained of."""
    async with closed(nc, anonymous=as_anonymous("viewer")) as (web, _), chromium() as browser:
        job = web.jobs.add()
        page = await browser.new_page()
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text))
        for url, element, style, value in (
            (f"{web.server.url}/", "h1", "letter-spacing", "-0.64px"),
            (f"{web.api}/jobs/{job}/report", ".badge", "border-radius", ""),
        ):
            await page.goto(url)
            got = await page.locator(element).first.evaluate(
                f"e => getComputedStyle(e).getPropertyValue({style!r})"
            )
            assert got == value if value else got != "0px"
        assert not said
        await page.close()


async def test_the_landing_page_links_only_to_what_is_open(nc):
    async with closed(nc) as (web, http):
        page = (await http.get(f"{web.server.url}/")).text
        assert "tb login" in page
        links = re.findall(r'href="([^"]+)"', page)
        assert len(links) >= 3
        for link in links:
            assert (await http.get(f"{web.server.url}{link}")).status_code == 200, link


# --- how often -----------------------------------------------------------------------------------------


async def test_the_api_is_bounded_by_who_asks(nc):
    async with closed(nc, rates=RateLimits(api=20)) as (web, http):
        anna, berta = (bearer(web.people.put(n, default="viewer")) for n in ("anna", "berta"))
        answers = [await http.get("/jobs", headers=anna) for _ in range(8)]
        assert [a.status_code for a in answers] == [200] * 5 + [429] * 3
        refused(answers[-1], 429)
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 3
        assert (await http.get("/jobs", headers=berta)).status_code == 200
        # Without a credential, or with a wrong one, it is the address.
        assert [(await http.get("/jobs", headers=bearer(f"x{n}"))).status_code for n in range(6)][-1] == 429
        assert (await http.get("/jobs")).status_code == 429
        assert (await http.get("/health")).status_code == 200


async def test_who_sends_slowly_holds_no_connection_for_long(nc, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_WITHIN", 0.3)
    monkeypatch.setattr(typed_route, "BODY_WITHIN", 0.3)
    async with closed(nc) as (web, http):
        head = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n"
        whole = head.replace(b"POST /api/v1/login", b"GET /api/v1/health") + b"\r\n"
        body = head + b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        for parts in ([b""], [head], [whole, head]):
            async with asyncio.timeout(2):
                assert await answered(web, *parts) == b""
        async with asyncio.timeout(2):
            assert b" 408 " in await answered(web, body)
        # What has begun is not bound by it.
        async with connect(web.ws_url, additional_headers=bearer(web.people.put("anna", "viewer"))) as socket:
            assert await answered(web, b"") == b""  # takes as long as its head might have
            await Socket(socket).subscribe(fleet=True)
            assert isinstance(await Socket(socket).receive(), Fleet)
        assert (await http.get("/health")).status_code == 200


async def answered(web: Stage, *parts: bytes) -> bytes:
    """What comes back for the last of the parts, each sent when the one before is answered; empty if the
    server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.server.port)
    head = b""
    try:
        for part in parts:
            writer.write(part)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
        return head
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""
    finally:
        writer.close()


async def test_submits_have_a_bound_of_their_own(nc):
    async with closed(nc, rates=RateLimits(submits=4)) as (web, http):
        anna = bearer(web.people.put("anna", default="operator"))
        codes = [(await http.post("/jobs", json=SPEC, headers=anna)).status_code for _ in range(6)]
        assert codes == [201] * 5 + [429]
        assert (await http.get("/jobs", headers=anna)).status_code == 200


async def test_handshakes_are_bounded_by_address(nc):
    async with closed(nc, rates=RateLimits(sockets=4)) as (web, _):
        codes = []
        for _ in range(7):
            with pytest.raises(InvalidStatus) as e:
                await connect(web.ws_url, additional_headers=bearer("wrong"))
            codes.append(e.value.response.status_code)
        assert codes == [401] * 5 + [429] * 2
        assert int(e.value.response.headers["retry-after"]) > 1
        # Those that are too many cost no look-up.
        assert web.people.asked == 5


# --- sockets -------------------------------------------------------------------------------------------


async def ticket(http: httpx.AsyncClient, secret: str) -> list[str]:
    answer = await http.post("/socket-tickets", headers=cookie(secret) | OWN)
    assert answer.status_code == 201, answer.text
    protocols: list[str] = answer.json()["protocols"]
    return protocols


async def status_of(*args: Any, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as e:
        await connect(*args, **options)
    return e.value.response.status_code


@asynccontextmanager
async def as_browser(web: Stage, protocols: list[str]) -> AsyncIterator[Socket]:
    async with connect(
        web.ws_url, subprotocols=protocols, origin=web.server.url, compression=None
    ) as connection:
        assert connection.subprotocol == "tb.v1"
        yield Socket(connection)


async def test_a_ticket_is_good_once(nc):
    async with closed(nc) as (web, http):
        job = web.jobs.add()
        protocols = await ticket(http, web.people.put("anna", default="viewer"))
        async with as_browser(web, protocols) as client:
            await client.subscribe(job)
            assert isinstance(await client.receive(), Snapshot)
        assert await status_of(web.ws_url, subprotocols=protocols, origin=web.server.url) == 401


async def test_of_many_who_show_one_ticket_at_once_one_gets_in(nc):
    async with closed(nc) as (web, http):
        protocols = await ticket(http, web.people.put("anna", default="viewer"))

        async def attempt() -> ClientConnection | None:
            try:
                return await connect(web.ws_url, subprotocols=protocols)
            except InvalidStatus:
                return None

        got = [c for c in await asyncio.gather(*(attempt() for _ in range(12))) if c is not None]
        assert len(got) == 1
        await got[0].close()


async def test_a_ticket_of_one_orchestrator_opens_a_socket_at_another(nc):
    async with closed(nc) as (web, http), closed(nc) as (other, _):
        secret = web.people.put("anna", default="viewer")
        other.people.bearers[secret] = web.people.bearers[secret]
        async with as_browser(other, await ticket(http, secret)):
            pass


async def test_a_ticket_ends_with_time_and_with_its_login(nc):
    async with closed(nc) as (web, http):
        secret = web.people.put("anna", default="viewer")
        late, dead = await ticket(http, secret), await ticket(http, secret)
        # As the bucket does by itself after 30 s.
        await nc.jetstream().purge_stream("KV_socket_tickets")
        assert await status_of(web.ws_url, subprotocols=late) == 401
        dead = await ticket(http, secret)
        web.people.revoke(secret)
        assert await status_of(web.ws_url, subprotocols=dead) == 401
        config = (await nc.jetstream().stream_info("KV_socket_tickets")).config
        assert config.max_age == 30


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_socket_of_another_page_is_refused_whatever_it_brings(nc, origin):
    async with closed(nc, anonymous=as_anonymous("viewer")) as (web, http):
        secret = web.people.put("anna", default="viewer")
        url, protocols = web.ws_url, await ticket(http, secret)
        assert await status_of(url, subprotocols=protocols, origin=origin) == 403
        assert await status_of(url, additional_headers=bearer(secret), origin=origin) == 403
        assert await status_of(url, origin=origin) == 403


async def test_cookies_open_no_socket_and_bearers_do(nc):
    async with closed(nc) as (web, _):
        secret, url = web.people.put("anna", default="viewer"), web.ws_url
        assert await status_of(url, additional_headers=cookie(secret), origin=web.server.url) == 401
        assert await status_of(url) == 401
        assert await status_of(url, subprotocols=["tb.v1"]) == 401
        assert await status_of(url, subprotocols=["tb.v1", "ticket.x", "ticket.y"]) == 401
        async with connect(url, additional_headers=bearer(secret)) as connection:
            assert connection.subprotocol is None


async def test_subscriptions_are_checked(nc):
    async with closed(nc) as (web, _):
        mine, theirs = web.jobs.add(project="shop"), web.jobs.add(project="bank")
        web.fleet.put("r1")
        secret = web.people.put("anna", None, shop="viewer")
        async with connect(web.ws_url, additional_headers=bearer(secret)) as connection:
            client = Socket(connection)
            await client.subscribe(theirs, "nobodys", mine, fleet=True)
            fleet, foreign, missing, own = [await client.receive() for _ in range(4)]
            assert "role viewer" in fleet.detail
            assert foreign.detail.replace(theirs, "nobodys") == missing.detail
            assert isinstance(own, Snapshot)
        log = web.state.audit_log
        assert isinstance(log, MemoryAuditLog)
        noted = [(n.actor, n.object) for n in log.notes if (n.action, n.result) == ("read", "refused")]
        assert noted == [("anna", "fleet"), ("anna", theirs)]


async def test_what_runs_is_shown_to_those_who_see_all_jobs(nc):
    async with closed(nc) as (web, http):
        web.fleet.put("r1", running=["somebodys"])
        for role, sees in (("viewer", []), ("admin", ["somebodys"])):
            secret = web.people.put("anna", role)
            async with connect(web.ws_url, additional_headers=bearer(secret)) as connection:
                client = Socket(connection)
                await client.subscribe(fleet=True)
                message = await client.receive()
                assert isinstance(message, Fleet)
                assert [s.job for s in message.runners[0].running] == sees
            (listed,) = (await http.get("/runners", headers=bearer(secret))).json()["items"]
            one = (await http.get("/runners/r1", headers=bearer(secret))).json()
            assert [[s["job"] for s in view["running"]] for view in (listed, one)] == [sees, sees]


async def cut(connection: ClientConnection, within: float = 2.0) -> int | None:
    """The close code; whatever comes before is left out."""
    async with asyncio.timeout(within):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as e:
            return e.rcvd.code if e.rcvd else None


async def test_a_revoked_login_is_cut_and_others_stay(nc):
    async with closed(nc) as (web, _):
        job = web.jobs.add()
        anna, berta = (web.people.put(n, default="viewer") for n in ("anna", "berta"))
        async with (
            connect(web.ws_url, additional_headers=bearer(anna)) as first,
            connect(web.ws_url, additional_headers=bearer(anna)) as second,
            connect(web.ws_url, additional_headers=bearer(berta)) as other,
        ):
            for connection in (first, other):
                await Socket(connection).subscribe(job)
                await Socket(connection).receive()
            started = time.monotonic()
            web.people.revoke(anna)
            assert [await cut(first), await cut(second)] == [4401, 4401]
            assert time.monotonic() - started < 2
            await Socket(other).subscribe(job)
            assert isinstance(await Socket(other).receive(), Snapshot)


async def test_a_credential_that_ends_without_a_word_is_found(nc, monkeypatch):
    monkeypatch.setattr(socket_watch, "LOOK_EVERY", 0.2)
    async with closed(nc) as (web, _):
        secret = web.people.put("anna", default="viewer")
        async with connect(web.ws_url, additional_headers=bearer(secret)) as connection:
            web.people.revoke(secret, tell=False)
            assert await cut(connection) == 4401


async def test_who_is_thrown_out_of_a_project_no_longer_follows_its_jobs(nc):
    async with closed(nc) as (web, _):
        job, theirs = web.jobs.add(project="shop"), web.jobs.add(project="bank")
        secret = web.people.put("anna", shop="viewer")
        async with connect(web.ws_url, additional_headers=bearer(secret)) as connection:
            client = Socket(connection)
            await client.subscribe(job)
            assert isinstance(await client.receive(), Snapshot)
            # What is gained is there at once; what is lost ends it.
            web.people.change(secret, shop="viewer", bank="viewer")
            await client.subscribe(theirs)
            assert isinstance(await client.receive(), Snapshot)
            web.people.change(secret, bank="viewer")
            assert await cut(connection) == 4403


async def test_a_revoked_client_that_does_not_read_gets_nothing_more(nc):
    """Nor can it keep its connection by not answering the close."""
    from tests.support.raw_socket import RawSocket

    async with closed(nc) as (web, _):
        job, secret = web.jobs.add(), web.people.put("anna", default="viewer")
        raw = await RawSocket.connect(web.server.port, headers=bearer(secret))
        await raw.subscribe(job)
        await raw.read_until(b'"snapshot"')
        web.people.revoke(secret)
        async with asyncio.timeout(6):
            assert await raw.read_to_end() < 200
        raw.sock.close()


# --- TLS -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_certificate(tmp_path_factory.mktemp("web-tls"))
    (folder / "key.pem").chmod(0o600)
    return folder


async def test_https_for_clients_that_know_the_authority(nc, keys):
    tls = server_context(str(keys / "cert.pem"), str(keys / "key.pem"))
    async with stage(nc, tls=tls, rates=NO_LIMITS) as web:
        assert web.server.url.startswith("https://")
        job = web.jobs.add()
        trust = ssl.create_default_context(cafile=str(keys / "cert.pem"))
        async with httpx.AsyncClient(base_url=web.api, verify=trust) as http:
            answer = await http.get("/jobs")
            assert answer.headers["strict-transport-security"].startswith("max-age=")
        async with Client(web.server.url, ca_file=str(keys / "cert.pem")) as client:
            assert (await client.jobs()).items[0].id == job
            follow = client.follow(job, say=lambda text: None)
            assert isinstance(await anext(follow), Snapshot)
            await follow.aclose()
        async with Client(web.server.url) as client:
            with pytest.raises(ServerError, match="--ca-file"):
                await client.jobs()
        with pytest.raises(httpx.HTTPError):
            await httpx.AsyncClient().get(web.api.replace("https", "http") + "/jobs")


async def test_under_tls_only_the_host_cookie_counts(nc, keys):
    tls = server_context(str(keys / "cert.pem"), str(keys / "key.pem"))
    async with stage(nc, tls=tls, anonymous=ANONYMOUS) as web:
        secret = web.people.put("anna", default="viewer")
        trust = ssl.create_default_context(cafile=str(keys / "cert.pem"))
        async with httpx.AsyncClient(base_url=web.api, verify=trust) as http:
            refused(await http.get("/jobs", headers=cookie(secret)), 401)
            assert (await http.get("/jobs", headers={"Cookie": f"__Host-tb={secret}"})).status_code == 200


def test_what_cannot_serve_is_said_in_words(keys, tmp_path):
    cert, key = str(keys / "cert.pem"), str(keys / "key.pem")
    other = make_certificate(tmp_path) / "key.pem"
    other.chmod(0o600)
    bad = tmp_path / "bad.pem"
    bad.write_text("no PEM")
    bad.chmod(0o600)
    loose = tmp_path / "loose.pem"
    loose.write_bytes(Path(key).read_bytes())
    loose.chmod(0o644)
    for given, words in (
        ((cert, ""), "without --tls-key"),
        (("", key), "without --tls-cert"),
        ((str(tmp_path / "gone"), key), "gone cannot be read"),
        ((cert, str(bad)), "must be PEM"),
        ((cert, str(other)), "is not the key of"),
        ((cert, str(loose)), "chmod 600"),
    ):
        with pytest.raises(SettingsError, match=words):
            server_context(*given)
    assert server_context("", "") is None


def test_the_settings_are_looked_at_together(keys):
    cert, key = str(keys / "cert.pem"), str(keys / "key.pem")
    with pytest.raises(SettingsError, match="--insecure"):
        Opening.of(OrchestratorConfig(host="0.0.0.0"))
    with pytest.raises(SettingsError, match="--anonymous viewer"):
        Opening.of(OrchestratorConfig(host="0.0.0.0", insecure=True, anonymous="admin"))
    assert Opening.of(OrchestratorConfig(host="0.0.0.0", tls_cert=cert, tls_key=key)).tls is not None
    assert Opening.of(OrchestratorConfig()).anonymous.role is None
