"""Three nodes on loopback: what is acknowledged survives the death of any one of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker_config.connection import connected
from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import BrokerUnavailable, ServerNotStarted
from broker_config.provisioning import ensure_dispatch_consumer, provision
from broker_config.streams import BUCKETS, PROGRESS, STREAMS
from orchestrator.bus.jet import Jet
from tests.support.waiting import eventually

SUBJECT = "job.progress.job1.runner1"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster(tmp_path, sync_always=False, on_event=lambda _: None) as cluster:
        yield cluster


@pytest.fixture
async def nc(cluster: EmbeddedCluster) -> AsyncIterator[Client]:
    async with connected(cluster.url, name="test", reconnect_wait=0.1) as nc:
        await provision(nc, replicas=3)
        yield nc


async def leader(jet: Jet, cluster: EmbeddedCluster, stream: str = PROGRESS.name) -> EmbeddedServer:
    """The node that leads the stream."""

    async def name() -> Any:
        try:
            return (await jet.api(f"STREAM.INFO.{stream}"))["cluster"].get("leader")
        except BrokerUnavailable:
            return None

    number = int((await eventually(name, what=f"leader of {stream}")).rpartition("-")[2])
    return cluster.nodes[number - 1]


async def publish(jet: Jet, n: int, within: float = 20.0) -> int:
    """As runners do: again and again, under the same message id, until the stream has it."""

    async def once() -> int | None:
        try:
            return (await jet.publish(SUBJECT, b"%d" % n, message_id=f"job1.{n}.1")).seq
        except BrokerUnavailable:
            return None

    seq = await eventually(once, within, what=f"record {n} taken")
    assert seq is not None
    return seq


async def test_all_streams_and_consumers_have_three_copies(cluster: EmbeddedCluster, nc: Client) -> None:
    jet = Jet(nc)
    for stream in [*(s.name for s in STREAMS), *(f"KV_{b.name}" for b in BUCKETS)]:
        info = await jet.api(f"STREAM.INFO.{stream}")
        assert info["config"]["num_replicas"] == 3
        assert len(info["cluster"]["replicas"]) == 2
    consumer = await ensure_dispatch_consumer(nc, "linux-chromium")
    info = await jet.api(f"CONSUMER.INFO.DISPATCH.{consumer}")
    assert len(info["cluster"]["replicas"]) == 2
    assert await provision(nc, replicas=3) == []


async def test_the_death_of_the_leader_loses_nothing_that_was_acknowledged(
    cluster: EmbeddedCluster, nc: Client
) -> None:
    jet = Jet(nc)
    for n in range(1, 51):
        await publish(jet, n)
    dead = await leader(jet, cluster)
    os.kill(dead.pid, signal.SIGKILL)
    for n in range(51, 101):
        await publish(jet, n)
    stored = await jet.read(PROGRESS.name, SUBJECT)
    # Each once: a publish whose answer was lost came again under the same id.
    assert [int(s.data) for s in stored] == list(range(1, 101))
    # The dead node is started again, and is of use again.
    await eventually(lambda: dead.restarts == 1, 20, what="the dead node runs again")
    await publish(jet, 101)
    assert [int(s.data) for s in await jet.read(PROGRESS.name, SUBJECT, start=100)][-1] == 101


async def test_a_reader_sees_what_was_acknowledged_though_a_node_lags(
    cluster: EmbeddedCluster, nc: Client
) -> None:
    jet = Jet(nc)
    (behind, *_) = [node for node in cluster.nodes if node is not await leader(jet, cluster)]
    async with connected(behind.url, name="reader", reconnect_wait=0.1) as reader:

        async def stored() -> list[int] | None:
            try:
                return [int(s.data) for s in await Jet(reader).read(PROGRESS.name, SUBJECT)]
            except BrokerUnavailable:
                return None  # a node that has just woken up may say so; what it must not do is leave out

        for n in range(100):
            if n % 20 == 0:
                os.kill(behind.pid, signal.SIGSTOP)
            await publish(jet, n)
            if n % 20 == 19:
                # Awake, it answers reads before it has caught up.
                os.kill(behind.pid, signal.SIGCONT)
                assert await eventually(stored, 15) == list(range(n + 1))


async def test_read_pages_and_wildcards(cluster: EmbeddedCluster, nc: Client) -> None:
    jet = Jet(nc)
    for n in range(7):
        await publish(jet, n)
    every = await jet.read(PROGRESS.name, "job.progress.job1.*")
    assert [s.seq for s in await jet.read(PROGRESS.name, SUBJECT, limit=3)] == [s.seq for s in every[:3]]
    # What the leader tells one by one is the same as what any node tells at once.
    one_by_one = [await jet._next(PROGRESS.name, SUBJECT, s.seq) for s in every]
    plain = [(s.seq, s.subject, s.data, s.at) for s in one_by_one if s]
    assert plain == [(s.seq, s.subject, s.data, s.at) for s in every]
    assert one_by_one[0]
    assert one_by_one[0].headers["Nats-Msg-Id"] == "job1.0.1"


async def test_a_cluster_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    for n in (1, 2):
        async with (
            EmbeddedCluster(tmp_path, on_event=lambda _: None) as cluster,
            connected(cluster.url, name="test") as nc,
        ):
            await provision(nc, replicas=3)
            assert await publish(Jet(nc), n) == n


async def test_a_node_that_is_given_up_ends_the_watch(tmp_path: Path) -> None:
    async with EmbeddedCluster(tmp_path, on_event=lambda _: None, max_deaths=1) as cluster:
        watch = asyncio.create_task(cluster.watch())
        os.kill(cluster.nodes[1].pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            with pytest.raises(ServerNotStarted, match="died 1 times in a row"):
                await watch


async def test_a_taken_port_is_told_and_leaves_no_node_behind(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "other") as other:
        port = int(other.url.rpartition(":")[2])
        cluster = EmbeddedCluster(tmp_path / "cluster", port=port - 1, start_timeout=10)
        with pytest.raises(ServerNotStarted, match="the cluster does not start"):
            async with cluster:
                pass
        assert [node.pid for node in cluster.nodes] == [0, 0, 0]
