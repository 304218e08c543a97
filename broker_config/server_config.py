"""Configuration files of nats-server, rendered from data. Pure: what is rendered is written elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .streams import GIB, MIB

CLUSTER_NAME = "trafficbuster"
CLUSTER_PORT = 6222
LEAF_PORT = 7422


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A node's place in a cluster. `routes` are `host:port` of all nodes, itself included or not."""

    routes: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = CLUSTER_PORT
    name: str = CLUSTER_NAME


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One nats-server. A port of -1 lets the server choose one; sizes in bytes.

    JetStream keeps its files in `<data_dir>/jetstream`. With `sync_always` every acknowledged message is on
    the disk; without it up to two minutes of them can be lost when the machine loses power.
    """

    name: str
    data_dir: str
    host: str = "127.0.0.1"
    port: int = 4222
    monitor_host: str = "127.0.0.1"
    monitor_port: int | None = 8222
    sync_always: bool = True
    max_file_bytes: int = 16 * GIB
    max_memory_bytes: int = 256 * MIB
    cluster: Cluster | None = None
    #: JetStream's domain; a leaf node with JetStream of its own needs one.
    domain: str | None = None
    #: Port on which leaf nodes are taken.
    leaf_port: int | None = None
    #: URLs of the hubs to which this node is a leaf.
    leaf_of: tuple[str, ...] = ()
    #: Directory into which the server writes the ports that it listens on, and file for its process id.
    ports_dir: str | None = None
    pid_file: str | None = None


def quoted(text: str) -> str:
    """`text` as a string of the configuration language, whatever it holds."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, f"\\x{ord(c):02x}" if ord(c) < 32 else c) for c in text) + '"'


def render_node(config: NodeConfig, heading: str = "") -> str:
    """The configuration file of one node; `heading` becomes a comment on top."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    lines += [
        f"server_name: {quoted(config.name)}",
        f"listen: {quoted(_address(config.host, config.port))}",
    ]
    if config.monitor_port is not None:
        lines.append(f"http: {quoted(_address(config.monitor_host, config.monitor_port))}")
    if config.ports_dir is not None:
        lines.append(f"ports_file_dir: {quoted(config.ports_dir)}")
    if config.pid_file is not None:
        lines.append(f"pid_file: {quoted(config.pid_file)}")
    lines += ["", *_jetstream(config)]
    if config.cluster is not None:
        cluster = config.cluster
        lines += [
            "",
            "cluster {",
            f"  name: {quoted(cluster.name)}",
            f"  listen: {quoted(_address(cluster.host, cluster.port))}",
            "  routes: [",
            *(f"    {quoted('nats-route://' + route)}" for route in cluster.routes),
            "  ]",
            "}",
        ]
    if config.leaf_port is not None or config.leaf_of:
        lines += ["", "leafnodes {"]
        if config.leaf_port is not None:
            lines.append(f"  listen: {quoted(_address(config.host, config.leaf_port))}")
        if config.leaf_of:
            lines += ["  remotes: [", *(f"    {{ url: {quoted(url)} }}" for url in config.leaf_of), "  ]"]
        lines.append("}")
    return "\n".join(lines) + "\n"


def render_cluster(
    hosts: Sequence[str],
    data_dir: str,
    *,
    leaf_port: int | None = None,
    heading: str = "",
) -> dict[str, str]:
    """The files of a cluster, one node a host: `{"cluster-1.conf": …}`."""
    routes = tuple(_address(host, CLUSTER_PORT) for host in hosts)
    return {
        f"cluster-{n}.conf": render_node(
            NodeConfig(
                name=f"{CLUSTER_NAME}-{n}",
                data_dir=data_dir,
                host=host,
                cluster=Cluster(host=host, routes=routes),
                leaf_port=leaf_port,
            ),
            heading,
        )
        for n, host in enumerate(hosts, 1)
    }


def templates() -> dict[str, str]:
    """The files of `deploy/nats`, by name."""
    data_dir = "/var/lib/trafficbuster/nats"
    private = "No users are set up here: let only trusted machines reach these addresses."
    one = render_node(
        NodeConfig(name=CLUSTER_NAME, data_dir=data_dir),
        "One node, on loopback. Start: nats-server -c one-node.conf",
    )
    cluster = render_cluster(
        ("nats-1", "nats-2", "nats-3"),
        data_dir,
        leaf_port=LEAF_PORT,
        heading="A cluster of three: put the names nats-1 to nats-3 into DNS or /etc/hosts, start one file\n"
        f"on each machine, provision with 3 replicas.\n{private}",
    )
    leaf = render_node(
        NodeConfig(
            name=f"{CLUSTER_NAME}-leaf",
            data_dir=data_dir,
            domain="leaf",
            leaf_of=tuple(f"nats-leaf://nats-{n}:{LEAF_PORT}" for n in (1, 2, 3)),
        ),
        "A leaf node: runners beside it connect to it on loopback, it alone talks to the cluster.",
    )
    return {"one-node.conf": one, **cluster, "leaf.conf": leaf}


def _jetstream(config: NodeConfig) -> list[str]:
    lines = [
        "jetstream {",
        f"  store_dir: {quoted(config.data_dir)}",
        f"  max_file_store: {config.max_file_bytes}",
        f"  max_memory_store: {config.max_memory_bytes}",
    ]
    if config.sync_always:
        lines += ["  # Each acknowledged message is on the disk.", "  sync_interval: always"]
    if config.domain is not None:
        lines.append(f"  domain: {quoted(config.domain)}")
    return [*lines, "}"]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
