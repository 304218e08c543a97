from __future__ import annotations

import asyncio
import signal
import socket as sockets
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from broker_config.errors import SettingsError
from orchestrator.core.outbox import SlowLimits
from orchestrator.web.app import create_app
from orchestrator.web.server import WebServer
from tests.support.raw_socket import RawSocket
from tests.support.web_parts import progress, socket, stage


async def hello(request):
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello)])


async def test_a_free_port_is_taken_and_given_back():
    async with WebServer(APP) as server:
        assert server.port > 0
        async with httpx.AsyncClient() as http:
            assert (await http.get(server.url)).text == "hello"
        port = server.port
    async with WebServer(APP, port=port) as server:
        assert server.port == port


async def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements():
    async with WebServer(APP) as server, httpx.AsyncClient(base_url=server.url) as http:
        took = []
        for _ in range(20):
            began = time.monotonic()
            await http.get("/")
            took.append(time.monotonic() - began)
    # The first has none to wait for; on a busy machine some take long.
    assert min(took[1:]) < 0.03


async def test_a_port_in_use_is_said_in_words():
    async with WebServer(APP) as server:
        with pytest.raises(
            SettingsError, match=f"127.0.0.1:{server.port}: the port is in use; choose another"
        ):
            await WebServer(APP, port=server.port).__aenter__()


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 70_000, "0 to 65535"),
        ("a..b", 0, "not known"),
        ("::zz", 0, "not known"),
        ("192.0.2.1", 0, "check"),
    ],
)
async def test_an_address_that_cannot_be_used(host, port, words):
    with pytest.raises(SettingsError, match=words):
        await WebServer(APP, host=host, port=port).__aenter__()


async def test_signals_stay_with_the_process():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with WebServer(APP):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_an_application_that_does_not_start():
    @asynccontextmanager
    async def lifespan(app):
        raise ValueError("no")
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        await WebServer(Starlette(lifespan=lifespan)).__aenter__()


async def test_stopping_is_bounded_and_closes_sockets(nc):
    async with stage(nc) as web:
        job = web.jobs.add()
        async with socket(web) as reader:
            await reader.subscribe(job)
            await reader.receive()
            # One that reads nothing any more, with much on its way to it.
            deaf = await RawSocket.connect(web.server.port, buffer=8192)
            await deaf.subscribe(job)
            await deaf.read_until(b'"snapshot"')
            for seq in range(1, 101):
                await web.publish(progress(job, seq, text="x" * 200_000))
            start = time.monotonic()
            await web.server.__aexit__(None, None, None)
            assert time.monotonic() - start < 6
            await reader.until_closed()
            assert reader.connection.close_code == 1012
            deaf.sock.close()
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith(("fan-out", "web server"))]


async def test_the_frontend_is_served_where_it_is_built(nc, tmp_path):
    (tmp_path / "index.html").write_text("<title>front</title>")
    (tmp_path / "app.js").write_text("1")
    async with stage(nc) as web:
        built = replace(web.state, static=tmp_path)
        async with WebServer(create_app(built)) as server, httpx.AsyncClient(base_url=server.url) as http:
            for page in ("/", "/jobs/abc", "/runners"):
                assert "front" in (await http.get(page)).text
            assert (await http.get("/app.js")).text == "1"
            for missing in ("/none.js", "/api/v2/jobs", "/api/v1/none", "/../pyproject.toml"):
                answer = await http.get(missing)
                assert answer.status_code == 404
                assert answer.headers["content-type"] == "application/problem+json"
            assert (await http.get("/api/v1/jobs")).status_code == 200


async def test_a_host_that_is_a_name_and_limits_are_plain_values():
    async with WebServer(APP, host="localhost") as server, httpx.AsyncClient() as http:
        assert (await http.get(server.url)).text == "hello"
    assert SlowLimits().high_water == 65_536
    with sockets.create_server(("127.0.0.1", server.port)):
        pass
