from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import nats.js.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client

from broker_config import subjects
from broker_config.connection import connected
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerRefused, Incompatible
from broker_config.provisioning import Change, ensure_dispatch_consumer, provision
from broker_config.streams import (
    BUCKETS,
    DISPATCH,
    LEASE,
    MAX_DELIVER,
    OBJECT_BUCKETS,
    STREAMS,
    Bucket,
    ObjectBucket,
    Stream,
)
from tests.support.plain_broker import plain_broker

TEST_STREAM = Stream(
    name="PROVISIONED", subjects=("provisioned.>",), description="A stream of a test", max_bytes=1 << 20
)
TEST_BUCKET = Bucket(name="provisioned", description="A bucket of a test", max_bytes=1 << 20, marker_ttl=2.0)


@pytest_asyncio.fixture
async def own_nc(own_broker: EmbeddedServer) -> AsyncIterator[Client]:
    async with connected(own_broker.url, name="test") as client:
        yield client


@pytest_asyncio.fixture
async def scratch(nc: Client) -> AsyncIterator[Client]:
    """A client of the shared broker, which has neither the test's stream nor its bucket."""

    async def clear() -> None:
        for name in (TEST_STREAM.name, f"KV_{TEST_BUCKET.name}"):
            await nc.request(f"$JS.API.STREAM.DELETE.{name}")

    await clear()
    yield nc
    await clear()


async def config_of(nc: Client, stream: str) -> dict[str, Any]:
    reply = await nc.request(f"$JS.API.STREAM.INFO.{stream}")
    config: dict[str, Any] = json.loads(reply.data)["config"]
    return config


async def make(nc: Client, *streams: Stream, buckets: tuple[Bucket, ...] = ()) -> list[Change]:
    return await provision(nc, streams=streams, buckets=buckets)


async def test_an_empty_broker_gets_all_and_a_second_start_changes_nothing(own_nc: Client) -> None:
    said: list[str] = []
    changes = await provision(own_nc, log=said.append)
    names = {s.name for s in STREAMS} | {f"KV_{b.name}" for b in BUCKETS}
    names |= {f"OBJ_{b.name}" for b in OBJECT_BUCKETS}
    assert {(c.kind, c.name) for c in changes} == {("created", name) for name in names}
    assert said == [f"created stream {c.name}" for c in changes]
    before = {name: await config_of(own_nc, name) for name in names}
    assert await provision(own_nc, log=said.append) == []
    assert {name: await config_of(own_nc, name) for name in names} == before
    assert len(said) == len(changes)


async def test_starts_at_the_same_moment_all_succeed(own_broker: EmbeddedServer) -> None:
    async with connected(own_broker.url, name="one") as one, connected(own_broker.url, name="two") as two:
        await asyncio.gather(*(provision(nc) for nc in (one, two) * 4))
        assert await provision(one) == []
        names = await asyncio.gather(
            *(ensure_dispatch_consumer(nc, "linux-chromium") for nc in (one, two) * 4)
        )
        assert set(names) == {"linux-chromium"}


async def test_every_option_of_a_stream_reaches_the_server(scratch: Client) -> None:
    """Each option of `Stream` away from its default, so that one that is forgotten shows."""
    first = Stream(
        name=TEST_STREAM.name,
        subjects=("provisioned.a", "provisioned.b.*"),
        description="all options",
        retention="workqueue",
        storage="memory",
        discard="old",
        max_bytes=123_456,
        max_age=60.0,
        max_message_bytes=2048,
        duplicate_window=30.0,
        deny_delete=True,
        deny_purge=True,
        allow_direct=False,
        allow_atomic=True,
    )
    for field in msgspec.structs.fields(Stream):
        assert field.required or getattr(first, field.name) != field.default, field.name
    await make(scratch, first)
    config = await config_of(scratch, first.name)
    expected = {
        "subjects": ["provisioned.a", "provisioned.b.*"],
        "description": "all options",
        "retention": "workqueue",
        "storage": "memory",
        "discard": "old",
        "max_bytes": 123_456,
        "max_age": 60_000_000_000,
        "max_msg_size": 2048,
        "duplicate_window": 30_000_000_000,
        "deny_delete": True,
        "deny_purge": True,
        "allow_atomic": True,
        "num_replicas": 1,
    }
    assert {key: config.get(key) for key in expected} == expected
    assert not config.get("allow_direct")
    assert await make(scratch, first) == []


async def test_a_changed_declaration_is_updated_and_the_messages_stay(scratch: Client) -> None:
    await make(scratch, TEST_STREAM)
    js = scratch.jetstream()
    await js.publish("provisioned.a", b"kept")
    changed = msgspec.structs.replace(
        TEST_STREAM,
        max_bytes=1 << 21,
        max_age=3600.0,
        subjects=("provisioned.>", "provisioned_too"),
        deny_purge=True,
    )
    [change] = await make(scratch, changed)
    assert change.kind == "updated"
    assert change.fields["max_bytes"] == (1 << 20, 1 << 21)
    assert change.fields.keys() == {"max_bytes", "max_age", "subjects", "deny_purge"}
    assert "max_bytes is 1048576 there, 2097152 declared" in str(change)
    config = await config_of(scratch, TEST_STREAM.name)
    assert (config["max_bytes"], config["subjects"]) == (1 << 21, ["provisioned.>", "provisioned_too"])
    assert (await js.get_msg(TEST_STREAM.name, 1)).data == b"kept"
    assert await make(scratch, changed) == []


async def test_what_an_operator_set_besides_stays(scratch: Client) -> None:
    await make(scratch, TEST_STREAM)
    config = await config_of(scratch, TEST_STREAM.name)
    theirs = {**config, "max_msgs": 5000, "metadata": {"owner": "ops"}}
    await scratch.request(f"$JS.API.STREAM.UPDATE.{TEST_STREAM.name}", json.dumps(theirs).encode())
    assert await make(scratch, TEST_STREAM) == []
    await make(scratch, msgspec.structs.replace(TEST_STREAM, max_bytes=1 << 21))
    config = await config_of(scratch, TEST_STREAM.name)
    assert (config["max_msgs"], config["metadata"]["owner"]) == (5000, "ops")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"retention": "workqueue"}, "retention is 'limits' there, 'workqueue' declared"),
        ({"storage": "memory"}, "storage is 'file' there, 'memory' declared"),
    ],
)
async def test_what_cannot_be_changed_is_refused_in_words(scratch: Client, change: Any, words: str) -> None:
    await make(scratch, TEST_STREAM)
    with pytest.raises(Incompatible) as e:
        await make(scratch, msgspec.structs.replace(TEST_STREAM, **change))
    assert "stream PROVISIONED cannot become what is declared" in str(e.value)
    assert words in str(e.value)
    assert "nats stream rm" in str(e.value)
    assert await make(scratch, TEST_STREAM) == []


async def test_subjects_that_another_stream_has_are_refused_in_words(scratch: Client) -> None:
    await make(scratch, TEST_STREAM)
    with pytest.raises(Incompatible, match=r"stream OTHER cannot become what is declared .*overlap"):
        await make(scratch, msgspec.structs.replace(TEST_STREAM, name="OTHER"))


async def test_more_replicas_than_nodes_are_refused_in_words(scratch: Client) -> None:
    with pytest.raises(BrokerRefused, match=r"the broker is a single node .*ask for 1 replica"):
        await provision(scratch, replicas=3, streams=(TEST_STREAM,), buckets=())


async def test_a_broker_with_too_little_storage_is_named(scratch: Client) -> None:
    with pytest.raises(BrokerRefused, match=r"not enough storage for stream PROVISIONED .*max_file_store"):
        await make(scratch, msgspec.structs.replace(TEST_STREAM, max_bytes=1 << 50))


async def test_a_full_stream_refuses_and_keeps_what_it_has(scratch: Client) -> None:
    await make(scratch, msgspec.structs.replace(TEST_STREAM, max_bytes=4096))
    js = scratch.jetstream()
    publishes = (js.publish("provisioned.a", b"x" * 500) for _ in range(20))
    with pytest.raises(nats.js.errors.APIError, match="maximum bytes exceeded"):
        await asyncio.gather(*publishes)
    assert (await js.get_msg(TEST_STREAM.name, 1)).seq == 1


async def test_a_bucket_works_with_the_plain_client(scratch: Client) -> None:
    await make(scratch, buckets=(TEST_BUCKET,))
    kv = await scratch.jetstream().key_value(TEST_BUCKET.name)
    revision = await kv.create("a", b"1")
    assert await kv.update("a", b"2", last=revision) == revision + 1
    with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
        await kv.update("a", b"3", last=revision)
    assert (await kv.get("a")).value == b"2"
    assert len(await kv.history("a")) == 1
    await kv.purge("a")
    status = await kv.status()
    assert (status.bucket, status.history) == (TEST_BUCKET.name, 1)
    assert await make(scratch, buckets=(TEST_BUCKET,)) == []


async def test_a_key_with_a_ttl_of_its_own_expires_and_leaves_a_marker(scratch: Client) -> None:
    await make(scratch, buckets=(TEST_BUCKET,))
    subject = f"$KV.{TEST_BUCKET.name}.leader"
    watch = await scratch.subscribe(subject)
    await scratch.flush()
    await scratch.jetstream().publish(subject, b"me", headers={"Nats-TTL": "1s"})
    assert (await watch.next_msg(1)).data == b"me"
    kv = await scratch.jetstream().key_value(TEST_BUCKET.name)
    updates: Any = await kv.watch("leader")
    async with asyncio.timeout(5):
        while (entry := await updates.updates()) is None or entry.value:
            pass
    assert entry.operation == "PURGE"
    await updates.stop()
    await watch.unsubscribe()


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda b: b.name)
async def test_declared_buckets_are_what_the_plain_client_would_make(own_nc: Client, bucket: Bucket) -> None:
    """Made by nats-py with the same options, our declaration finds nothing to change, and the reverse."""
    await own_nc.jetstream().create_key_value(
        bucket=bucket.name,
        description=bucket.description,
        history=bucket.history,
        ttl=bucket.ttl,
        max_bytes=bucket.max_bytes,
        max_value_size=bucket.max_value_bytes,
        storage=bucket.storage,
        direct=True,
        limit_marker_ttl=bucket.marker_ttl or None,
    )
    assert await provision(own_nc, streams=(), buckets=(bucket,)) == []
    theirs = await config_of(own_nc, f"KV_{bucket.name}")
    await own_nc.request(f"$JS.API.STREAM.DELETE.KV_{bucket.name}")
    await provision(own_nc, streams=(), buckets=(bucket,))
    ours = await config_of(own_nc, f"KV_{bucket.name}")
    if not bucket.marker_ttl:
        # nats-py lets keys of every bucket have a TTL; we do where it is declared.
        theirs["allow_msg_ttl"] = False
        ours.setdefault("allow_msg_ttl", False)
    # The server's own notes on versions.
    assert {**ours, "metadata": None} == {**theirs, "metadata": None}


@pytest.mark.parametrize("bucket", OBJECT_BUCKETS, ids=lambda b: b.name)
async def test_object_stores_are_what_the_plain_client_would_make(
    own_nc: Client, bucket: ObjectBucket
) -> None:
    """But for the time to live of single objects, which nats-py does not know of, and for messages that take
    others with them, by which a runner could empty the store."""
    await provision(own_nc, streams=(), buckets=(bucket,))
    ours = await config_of(own_nc, f"OBJ_{bucket.name}")
    assert ours.pop("allow_msg_ttl") is True
    assert ours.pop("allow_rollup_hdrs") is False
    await own_nc.request(f"$JS.API.STREAM.DELETE.OBJ_{bucket.name}")
    await own_nc.jetstream().create_object_store(
        bucket=bucket.name,
        description=bucket.description,
        ttl=bucket.ttl,
        max_bytes=bucket.max_bytes,
    )
    theirs = await config_of(own_nc, f"OBJ_{bucket.name}")
    theirs.pop("allow_msg_ttl", None)
    assert theirs.pop("allow_rollup_hdrs") is True
    assert {**ours, "metadata": None} == {**theirs, "metadata": None}


async def test_a_broker_without_jetstream_is_named(tmp_path: Any) -> None:
    async with (
        plain_broker(tmp_path) as port,
        connected(f"nats://u:right@127.0.0.1:{port}", name="x") as nc,
    ):
        with pytest.raises(
            BrokerRefused, match="the broker has no JetStream for this user; start nats-server with"
        ):
            await provision(nc, timeout=0.5)


async def test_the_dispatch_consumer_is_made_once_and_follows_its_declaration(own_nc: Client) -> None:
    with pytest.raises(BrokerRefused, match="stream DISPATCH does not exist; provision the broker first"):
        await ensure_dispatch_consumer(own_nc, "linux-chromium")
    await provision(own_nc)
    js = own_nc.jetstream()
    for _ in range(2):
        assert await ensure_dispatch_consumer(js, "linux-chromium") == "linux-chromium"
    assert await ensure_dispatch_consumer(own_nc, "linux-chromium", "eu") == "linux-chromium_eu"
    config = (await js.consumer_info(DISPATCH.name, "linux-chromium_eu")).config
    assert config.filter_subject == subjects.job_dispatch("linux-chromium", "eu")
    assert (config.ack_wait, config.max_deliver, config.durable_name) == (
        LEASE,
        MAX_DELIVER,
        "linux-chromium_eu",
    )
    assert config.ack_policy == "explicit"
    await ensure_dispatch_consumer(own_nc, "linux-chromium", "eu", lease=2.5, max_deliver=7)
    config = (await js.consumer_info(DISPATCH.name, "linux-chromium_eu")).config
    assert (config.ack_wait, config.max_deliver) == (2.5, 7)


async def test_pools_and_platforms_get_only_their_own(own_nc: Client) -> None:
    await provision(own_nc)
    js = own_nc.jetstream()
    places = [("linux-chromium", None), ("linux-chromium", "eu"), ("windows-msedge", None)]
    for platform, pool in places:
        await ensure_dispatch_consumer(own_nc, platform, pool)
        subject = subjects.job_dispatch(platform, pool)
        await js.publish(subject, subject.encode())
    for platform, pool in places:
        pull = await js.pull_subscribe_bind(subjects.dispatch_consumer(platform, pool), DISPATCH.name)
        [message] = await pull.fetch(1, timeout=2)
        assert message.data.decode() == subjects.job_dispatch(platform, pool)
        await message.ack_sync()
    assert (await js.stream_info(DISPATCH.name)).state.messages == 0


async def test_a_consumer_that_cannot_be_changed_is_refused_in_words(own_nc: Client) -> None:
    await provision(own_nc)
    theirs = {
        "stream_name": DISPATCH.name,
        "config": {
            "durable_name": "linux-chromium",
            "ack_policy": "explicit",
            "max_waiting": 7,
            "filter_subject": subjects.job_dispatch("linux-chromium"),
        },
    }
    create = f"$JS.API.CONSUMER.DURABLE.CREATE.{DISPATCH.name}.linux-chromium"
    assert "error" not in json.loads((await own_nc.request(create, json.dumps(theirs).encode())).data)
    with pytest.raises(Incompatible, match="consumer linux-chromium of stream DISPATCH cannot become"):
        await ensure_dispatch_consumer(own_nc, "linux-chromium")
