from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats.errors
import pytest
from nats.aio.msg import Msg

from broker_config.connection import connect, connected, leave, mask, servers_of
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerRefused, BrokerUnavailable, SettingsError
from tests.support.plain_broker import plain_broker
from tests.support.waiting import eventually


@contextmanager
def free_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody can while the context lasts."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


async def test_a_client_publishes_and_what_it_published_is_delivered_before_it_leaves(
    broker_url: str,
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(msg: Msg) -> None:
        heard.put_nowait(msg.data)

    async with connected(broker_url, name="hearer") as hearer:
        await hearer.subscribe("connection.test", cb=hear)
        await hearer.flush()
        await hearer.flush()
        async with connected(broker_url, name="speaker") as speaker:
            for i in range(100):
                await speaker.publish("connection.test", str(i).encode())
        assert speaker.is_closed
        async with asyncio.timeout(5):
            assert [int(await heard.get()) for _ in range(100)] == list(range(100))
    assert hearer.is_closed


async def test_the_name_and_the_inbox_prefix_are_used(broker_url: str) -> None:
    async with connected(broker_url, name="n", inbox_prefix="_INBOX_r1") as nc:
        assert nc.new_inbox().startswith("_INBOX_r1.")
        assert nc.options["name"] == "n"


async def test_nobody_there_is_said_in_words_and_in_time() -> None:
    with free_port() as port:
        began = asyncio.get_running_loop().time()
        with pytest.raises(BrokerUnavailable) as e:
            await connect(f"nats://u:secret@127.0.0.1:{port}", name="x", timeout=0.4)
        assert asyncio.get_running_loop().time() - began < 2
    assert f"no NATS broker answers at nats://***@127.0.0.1:{port} within 0.4 s" in str(e.value)
    assert "refused" in str(e.value).lower() or "Connect call failed" in str(e.value)
    assert "secret" not in str(e.value)
    assert "check the address" in str(e.value)


async def test_one_that_takes_the_connection_and_says_nothing_is_not_waited_for() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=r"within 0\.3 s"):
            await connect(f"127.0.0.1:{port}", name="x", timeout=0.3)


async def test_a_name_that_does_not_exist_is_said() -> None:
    with pytest.raises(BrokerUnavailable, match=r"nats://no-such-host\.invalid"):
        await connect("no-such-host.invalid", name="x", timeout=0.5)


async def test_wrong_credentials_are_refused_at_once(tmp_path: Path) -> None:
    async with plain_broker(tmp_path) as port:
        began = asyncio.get_running_loop().time()
        with pytest.raises(BrokerRefused, match=r"refused the connection: .*check user, password") as e:
            await connect(f"nats://u:wrong@127.0.0.1:{port}", name="x", timeout=30)
        assert asyncio.get_running_loop().time() - began < 5
        assert "wrong" not in str(e.value)
        with pytest.raises(BrokerRefused):
            await connect(f"127.0.0.1:{port}", name="x", timeout=30)
        async with connected(f"nats://u:right@127.0.0.1:{port}", name="x") as nc:
            assert nc.is_connected


async def test_the_second_of_two_addresses_serves_when_the_first_is_dead(broker_url: str) -> None:
    with free_port() as port:
        async with connected(f"nats://127.0.0.1:{port}, {broker_url}", name="x") as nc:
            assert nc.connected_url is not None
            assert nc.connected_url.geturl() == broker_url


async def test_a_client_comes_back_after_a_restart_and_is_told_of_it(own_broker: EmbeddedServer) -> None:
    told: list[str] = []
    async with connected(
        own_broker.url,
        name="x",
        on_disconnected=lambda: told.append("disconnected"),
        on_reconnected=lambda: told.append("reconnected"),
        on_closed=lambda: told.append("closed"),
        on_error=lambda e: None,
    ) as nc:
        _kill(own_broker)
        await eventually(lambda: "reconnected" in told, what="reconnect")
        assert told == ["disconnected", "reconnected"]
        await nc.flush()
    assert told[-1] == "closed"


async def test_a_client_that_the_broker_closes_says_so(tmp_path: Path) -> None:
    """What holds such a client must end: it never comes back."""
    closed = asyncio.Event()
    async with (
        plain_broker(tmp_path) as port,
        connected(
            f"nats://u:right@127.0.0.1:{port}", name="x", on_closed=closed.set, on_error=lambda e: None
        ) as nc,
    ):
        # A protocol violation: the broker answers with an error and hangs up.
        await nc._send_command(b"NONSENSE\r\n")
        await nc._flush_pending()
        async with asyncio.timeout(5):
            await closed.wait()
        assert nc.is_closed


async def test_leaving_is_bounded_while_the_broker_is_away(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "b", sync_always=False) as server:
        nc = await connect(server.url, name="x", on_error=lambda e: None)
        await nc.subscribe("a")
    await eventually(lambda: not nc.is_connected, what="disconnect")
    async with asyncio.timeout(5):
        await leave(nc)
    assert nc.is_closed


async def test_leaving_is_bounded_while_a_handler_hangs(broker_url: str) -> None:
    started = asyncio.Event()

    async def hang(msg: Msg) -> None:
        started.set()
        await asyncio.Event().wait()

    nc = await connect(broker_url, name="x", on_error=lambda e: None)
    await nc.subscribe("connection.hang", cb=hang)
    await nc.publish("connection.hang")
    await started.wait()
    async with asyncio.timeout(5):
        await leave(nc, within=0.3)
    assert nc.is_closed


async def test_cancellation_passes_through_a_connect(broker_url: str) -> None:
    with free_port() as port:
        task = asyncio.create_task(connect(f"127.0.0.1:{port}", name="x", timeout=60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_errors_of_the_connection_reach_the_callback(broker_url: str) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    entered = asyncio.Event()

    async def fail(msg: Msg) -> None:
        entered.set()
        raise RuntimeError("handler failed")

    async with connected(broker_url, name="x", on_error=errors.put_nowait) as nc:
        await nc.subscribe("connection.fail", cb=fail)
        await nc.publish("connection.fail")
        async with asyncio.timeout(5):
            assert str(await errors.get()) == "handler failed"


async def test_a_credentials_file_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match=r"credentials file .*no\.creds cannot be read: No such file"):
        await connect("127.0.0.1", name="x", credentials=Path("/no/such/no.creds"))


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("127.0.0.1", ["nats://127.0.0.1"]),
        ("a:4222,b:4222", ["nats://a:4222", "nats://b:4222"]),
        (" nats://a , tls://b:1 ,", ["nats://a", "tls://b:1"]),
        ("nats://[::1]:4222", ["nats://[::1]:4222"]),
    ],
)
def test_addresses_are_read(url: str, servers: list[str]) -> None:
    assert servers_of(url) == servers


@pytest.mark.parametrize(
    "url",
    ["", ",", "http://a", "nats://", "nats://a:99999", "nats://a:0", "nats://u:p/x@a:1", "ws://a,nats://b"],
)
def test_an_address_that_cannot_be_used_is_refused_in_words(url: str) -> None:
    with pytest.raises(SettingsError, match="broker URL"):
        servers_of(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:p@a:1,nats://token@b", "nats://***@a:1,nats://***@b"),
        ("nats://u:p@ss@a:1", "nats://***@a:1"),
        ("nats://a:1", "nats://a:1"),
        ("nats://u:p/x@a:1", "nats://***@a:1"),
        ("u:p@a:1", "***@a:1"),
    ],
)
def test_credentials_are_masked(url: str, shown: str) -> None:
    assert mask(url) == shown


def _kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


async def test_requests_in_flight_do_not_outlive_their_connection(own_broker: EmbeddedServer) -> None:
    async def silent(msg: Msg) -> None:
        os.kill(own_broker.pid, signal.SIGKILL)

    async with connected(own_broker.url, name="x", on_error=lambda e: None) as nc:
        await nc.subscribe("connection.silent", cb=silent)
        async with asyncio.timeout(10):
            with pytest.raises(nats.errors.TimeoutError):
                await nc.request("connection.silent", b"", timeout=60)
