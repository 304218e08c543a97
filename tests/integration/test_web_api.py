"""REST over a real server and a real broker; what stands behind it is kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from broker_config.errors import BrokerUnavailable, StreamFull
from orchestrator.web.jobs import MAX_SPEC
from tests.support.web_parts import SPEC, Stage, progress, socket, stage


@pytest_asyncio.fixture(scope="module")
async def web(broker_url) -> AsyncIterator[Stage]:
    from broker_config.connection import connected

    async with connected(broker_url, name="web test") as nc, stage(nc, sessions=25) as it:
        it.fleet.put("r1", busy=1)
        yield it


@pytest_asyncio.fixture(scope="module")
async def http(web) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.api) as client:
        yield client


def problem(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert len(body["detail"]) > 15
    assert "Traceback" not in answer.text
    return body


# --- jobs --------------------------------------------------------------------------------------------------


async def test_submit_and_get(web, http):
    made = await http.post("/jobs?source=cli", json=SPEC)
    assert made.status_code == 201
    view = made.json()
    assert view["job"]["source"] == "cli"
    assert view["progress"]["counts"]["planned"] == 5
    id = view["job"]["id"]
    assert (await http.get(f"/jobs/{id}")).json() == view

    web.jobs.save(progress(id, 7, ok=3))
    stored = (await http.get(f"/jobs/{id}")).json()["progress"]
    assert (stored["seq"], stored["counts"]["ok"]) == (7, 3)


async def test_a_followed_job_shows_its_live_progress(web, http):
    id = web.jobs.add()
    web.jobs.save(progress(id, 3, ok=1))
    async with socket(web) as client:
        await client.subscribe(id)
        await client.receive()
        await web.publish(progress(id, 4, ok=2))
        await client.receive()
        assert (await http.get(f"/jobs/{id}")).json()["progress"]["seq"] == 4


async def test_a_repeated_submit_makes_one_job(http):
    headers = {"Idempotency-Key": "order 66"}
    first = await http.post("/jobs", json=SPEC, headers=headers)
    again = await http.post("/jobs", json=SPEC, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["job"]["id"] == again.json()["job"]["id"]
    problem(await http.post("/jobs", json={**SPEC, "sessions": 6}, headers=headers), 409)


@pytest.mark.parametrize("key", ["", "x" * 129, "sm\u00f6rg", "tab\there"])
async def test_a_bad_idempotency_key_is_refused(http, key):
    answer = await http.post("/jobs", json=SPEC, headers={"Idempotency-Key": key.encode()})
    assert problem(answer, 422)["errors"][0]["where"] == "Idempotency-Key"


async def test_a_wrong_spec_is_answered_field_by_field(http):
    spec = {"targets": [{"url": "ftp://x"}], "sessions": 5, "sesions": 7, "platforms": ["amiga-netscape"]}
    body = problem(await http.post("/jobs", json=spec), 422)
    assert any(e["where"] == "sesions" and "sessions" in e["what"] for e in body["errors"])
    spec.pop("sesions")
    body = problem(await http.post("/jobs", json=spec), 422)
    assert {e["where"] for e in body["errors"]} == {"targets[0].url", "platforms"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b'{"a": "\xff"}', 400),
        (b"[" * 50_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b'{"targets": ' + b'[{"url": 5}]' + b"}", 422),
    ],
)
async def test_bodies_that_are_no_spec(http, content, status):
    problem(await http.post("/jobs", content=content, headers={"Content-Type": "application/json"}), status)


async def test_media_types(http):
    content = json.dumps(SPEC).encode()
    accepted = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await http.post("/jobs", content=content, headers=accepted)).status_code == 201
    problem(await http.post("/jobs", content=content, headers={"Content-Type": "text/yaml"}), 415)
    problem(await http.post("/jobs", content=content), 415)


async def test_too_large_a_body_is_refused_before_it_is_read(web):
    """Declared and chunked, by a bare connection: what the server has not read cannot have been counted."""
    host, port = web.server.host, web.server.port
    declared = f"Content-Length: {MAX_SPEC + 1}\r\n\r\n".encode()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (MAX_SPEC // 0x10000 + 1)
    for rest in (declared, chunked):
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
        writer.write(head + rest)
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 413 " in answer
        assert b"application/problem+json" in answer
        writer.close()


async def test_a_large_spec_is_taken(http):
    targets = [{"url": f"http://localhost/{n}/{'x' * 300}", "sessions": 1} for n in range(2_000)]
    assert (await http.post("/jobs", json={"targets": targets}, timeout=20)).status_code == 201


async def test_listing_pages_through_all_jobs(http, web):
    expected = sorted(web.jobs.jobs, reverse=True)
    seen, cursor = [], None
    while True:
        page = (await http.get("/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [row["id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert not any(id in cursor for id in expected)
    assert seen == expected


async def test_filter_by_state(http, web):
    id = web.jobs.add(state="paused")
    page = (await http.get("/jobs?state=paused")).json()
    assert [row["id"] for row in page["items"]] == [id]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("state=sleeping", "state"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=%00%ff", "cursor"),
        ("cursor=", "cursor"),
    ],
)
async def test_wrong_queries_name_the_parameter(http, query, where):
    assert problem(await http.get(f"/jobs?{query}"), 422)["errors"][0]["where"] == where


async def test_orders(http, web):
    id = web.jobs.add()
    assert (await http.post(f"/jobs/{id}/pause")).json()["job"]["desired"] == "pause"
    assert (await http.post(f"/jobs/{id}/resume")).json()["job"]["desired"] == "run"
    assert (await http.post(f"/jobs/{id}/cancel")).json()["job"]["desired"] == "cancel"
    problem(await http.post(f"/jobs/{id}/resume"), 409)


async def test_unknown_jobs(http):
    for path in ("/jobs/none", "/jobs/none/detail", "/jobs/none/sessions", "/jobs/%00%0a.*"):
        problem(await http.get(path), 404)
    for order in ("cancel", "pause", "resume"):
        problem(await http.post(f"/jobs/none/{order}"), 404)


async def test_detail_with_and_without_a_checkpoint(http, web):
    id = web.jobs.add()
    empty = (await http.get(f"/jobs/{id}/detail")).json()
    assert (empty["seq"], empty["total"]) == (0, {"planned": 5})
    web.jobs.save(progress(id, 9))
    assert (await http.get(f"/jobs/{id}/detail")).json()["seq"] == 9


# --- sessions, runners, health -----------------------------------------------------------------------------


async def test_sessions_page_and_filter(http, web):
    id, other = web.jobs.add(), web.jobs.add()
    first = (await http.get(f"/jobs/{id}/sessions?limit=10")).json()
    rest = (await http.get(f"/jobs/{id}/sessions", params={"cursor": first["next"]})).json()
    assert [r["seq"] for r in first["items"] + rest["items"]] == list(range(1, 26))
    assert rest["next"] is None
    failed = (await http.get(f"/jobs/{id}/sessions?status=failed")).json()
    assert {r["status"] for r in failed["items"]} == {"failed"}
    # A cursor is good for its own list only.
    problem(await http.get(f"/jobs/{other}/sessions", params={"cursor": first["next"]}), 422)
    problem(await http.get(f"/jobs/{id}/sessions?status=broken"), 422)


async def test_runners_and_platforms(http):
    assert [r["id"] for r in (await http.get("/runners")).json()["items"]] == ["r1"]
    assert (await http.get("/runners/r1")).json()["busy"] == 1
    problem(await http.get("/runners/r2"), 404)
    platforms = (await http.get("/runners/available-platforms")).json()["items"]
    assert platforms == [{"platform": "linux-chromium", "runners": 1, "slots": 4, "free": 3}]


async def test_health_and_readiness(http, web):
    assert (await http.get("/health")).json()["version"] == "test"
    assert (await http.get("/ready")).status_code == 200
    web.status.is_ready = False
    answer = await http.get("/ready")
    web.status.is_ready = True
    assert (answer.status_code, answer.json()["detail"]) == (503, "no broker")


# --- faults, the rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [(BrokerUnavailable("the broker is away"), 503), (StreamFull("it is full, free it"), 507)],
)
async def test_faults_behind_come_out_in_words(http, web, fault, status):
    web.jobs.fault = fault
    try:
        answer = await http.post("/jobs", json=SPEC)
    finally:
        web.jobs.fault = None
    assert problem(answer, status)["detail"] == str(fault)
    assert (answer.headers.get("retry-after") is not None) == (status == 503)


async def test_an_unexpected_exception_tells_nothing_of_the_inside(http, web, caplog):
    web.jobs.fault = ZeroDivisionError("the secret of the house")
    try:
        answer = await http.get("/jobs")
    finally:
        web.jobs.fault = None
    assert "secret" not in json.dumps(problem(answer, 500))
    assert "the secret of the house" in caplog.text


async def test_unknown_paths_and_methods_are_problems(http, web):
    problem(await http.get("/nothing"), 404)
    answer = await http.delete("/jobs")
    assert "POST" in problem(answer, 405)["detail"] or "GET" in answer.headers["allow"]
    problem(await http.get(f"{web.server.url}/nothing"), 404)
    problem(await http.get(f"{web.server.url}/ws"), 426)


async def test_openapi_and_schema_are_served(http):
    doc = (await http.get("/openapi.json")).json()
    assert doc["info"]["version"] == "1.2.3"
    assert "targets" in json.dumps((await http.get("/job-schema")).json())


async def test_landing_page_and_headers(http, web):
    page = await http.get(f"{web.server.url}/")
    assert page.status_code == 200
    for path in ("/api/v1/ready", "/api/v1/openapi.json"):
        assert path in page.text
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert (await http.get("/jobs")).headers["cache-control"] == "no-store"


async def test_audit_and_retry_are_answered_in_words(web, http):
    web.jobs.add("webjob-audited")
    web.jobs.add("x")
    view = (await http.get("/jobs/webjob-audited/audit")).json()
    assert (view["agrees"], view["found"]) == (False, {"totals": 1})
    assert view["findings"] == [{"kind": "totals", "text": "one is missing", "session": 3, "seq": 7}]
    problem(await http.get("/jobs/nothing/audit"), 404)
    refused = problem(await http.post("/jobs/x/retry"), 409)
    assert "nothing to retry" in refused["detail"]
