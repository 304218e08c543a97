"""Configuration files of nats-server, rendered from data. Pure: what is rendered is written elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from .operator_mode import DOMAIN, BrokerAccounts
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
    #: What nodes show each other. Without it whoever reaches the port is taken for a node.
    password: str | None = None
    #: Nodes talk TLS to each other, and each wants a certificate of its `ca_file` from the other.
    tls: Tls | None = None


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a listener's certificate and of its key, PEM; between nodes also of their authority."""

    cert_file: str
    key_file: str
    ca_file: str | None = None


class LeafRemote(msgspec.Struct, frozen=True, kw_only=True):
    """A hub: the addresses of its nodes, of which one is taken. `ca_file` holds the certificates by which it
    is known, where the system's are not enough.

    In operator mode a leaf has two of them, with `account`, the public key of the account that it joins, and
    `credentials`, the file with which it does: APP for what is said, SYS to hear who is revoked.
    """

    urls: tuple[str, ...]
    account: str | None = None
    credentials: str | None = None
    ca_file: str | None = None


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
    #: Port on which leaf nodes are taken.
    leaf_port: int | None = None
    #: The hub to which this node is a leaf. It has no JetStream of its own then: what it would store the hub
    #: would never see.
    leaf_of: tuple[LeafRemote, ...] = ()
    #: Operator mode: nobody is let in without a credential. Accounts that are pushed are kept below
    #: `data_dir`. None lets everybody in who reaches the port.
    accounts: BrokerAccounts | None = None
    #: Clients and leaf nodes talk TLS.
    tls: Tls | None = None
    #: Directory into which the server writes the ports that it listens on, and file for its process id.
    ports_dir: str | None = None
    #: The server's own log, bounded: what clients are refused stands in it, and they can be refused without
    #: end. None: it goes to stderr.
    log_file: str | None = None
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
    if config.tls is not None:
        lines += ["", *_tls(config.tls)]
    if config.accounts is not None:
        lines += ["", *_operator(config.accounts, config.data_dir)]
    if config.log_file is not None:
        lines += [
            f"log_file: {quoted(config.log_file)}",
            f"logfile_size_limit: {16 * MIB}",
            "logfile_max_num: 3",
        ]
    lines += ["", *(_jetstream(config) if not config.leaf_of else _through(config))]
    if config.cluster is not None:
        cluster = config.cluster
        lines += [
            "",
            "cluster {",
            f"  name: {quoted(cluster.name)}",
            f"  listen: {quoted(_address(cluster.host, cluster.port))}",
        ]
        if cluster.tls is not None:
            lines += _tls(cluster.tls, "  ")
        secret = "" if cluster.password is None else f"node:{quote(cluster.password, safe='')}@"
        if cluster.password is not None:
            lines.append(f"  authorization {{ user: node, password: {quoted(cluster.password)} }}")
        lines += [
            "  routes: [",
            *(f"    {quoted(f'nats-route://{secret}{route}')}" for route in cluster.routes),
            "  ]",
            "}",
        ]
    if config.leaf_port is not None or config.leaf_of:
        lines += ["", "leafnodes {"]
        if config.leaf_port is not None:
            lines.append(f"  listen: {quoted(_address(config.host, config.leaf_port))}")
            if config.tls is not None:
                lines += _tls(config.tls, "  ")
        if config.leaf_of:
            lines += ["  remotes: [", *(f"    {_remote(hub)}" for hub in config.leaf_of), "  ]"]
        lines.append("}")
    return "\n".join(lines) + "\n"


def render_cluster(
    hosts: Sequence[str],
    data_dir: str,
    *,
    port: int = 4222,
    leaf_port: int | None = None,
    accounts: BrokerAccounts | None = None,
    tls: Tls | None = None,
    node_tls: Tls | None = None,
    password: str | None = None,
    heading: str = "",
) -> dict[str, str]:
    """The files of a cluster, one node a host: `{"cluster-1.conf": …}`. `tls` is for clients, `node_tls` and
    `password` are for nodes among themselves."""
    routes = tuple(_address(host, CLUSTER_PORT) for host in hosts)
    return {
        f"cluster-{n}.conf": render_node(
            NodeConfig(
                name=f"{CLUSTER_NAME}-{n}",
                data_dir=data_dir,
                host=host,
                port=port,
                cluster=Cluster(host=host, routes=routes, password=password, tls=node_tls),
                leaf_port=leaf_port,
                accounts=accounts,
                tls=tls,
            ),
            heading,
        )
        for n, host in enumerate(hosts, 1)
    }


def templates() -> dict[str, str]:
    """The files of `deploy/nats`, by name."""
    data_dir = "/var/lib/trafficbuster/nats"
    private = (
        "No users are set up here: let only trusted machines reach these addresses.\n"
        "`tb nats config` writes files for a broker that lets in nobody without a credential."
    )
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
            leaf_of=(LeafRemote(urls=tuple(f"nats-leaf://nats-{n}:{LEAF_PORT}" for n in (1, 2, 3))),),
        ),
        "A leaf node: runners beside it connect to it on loopback, it alone talks to the cluster.",
    )
    return {"one-node.conf": one, **cluster, "leaf.conf": leaf}


def _tls(tls: Tls, indent: str = "") -> list[str]:
    lines = [f"cert_file: {quoted(tls.cert_file)}", f"key_file: {quoted(tls.key_file)}"]
    if tls.ca_file is not None:
        lines.append(f"ca_file: {quoted(tls.ca_file)}")
    return [f"{indent}tls {{", *(f"{indent}  {line}" for line in lines), f"{indent}}}"]


def _operator(accounts: BrokerAccounts, data_dir: str) -> list[str]:
    separator = "\\" if "\\" in data_dir else "/"
    return [
        f"operator: {accounts.operator}",
        f"system_account: {accounts.system_account}",
        "resolver {",
        "  type: full",
        # So often nodes ask each other for what they have missed, as a leaf does that was cut off.
        '  interval: "2s"',
        f"  dir: {quoted(f'{data_dir}{separator}accounts')}",
        "  allow_delete: false",
        "}",
        "resolver_preload: {",
        *(f"  {key}: {token}" for key, token in accounts.accounts.items()),
        "}",
    ]


def _remote(hub: LeafRemote) -> str:
    parts = [f"urls: [{', '.join(map(quoted, hub.urls))}]"]
    if hub.account is not None:
        parts.append(f"account: {quoted(hub.account)}")
    if hub.credentials is not None:
        parts.append(f"credentials: {quoted(hub.credentials)}")
    if hub.ca_file is not None:
        parts.append(f"tls {{ ca_file: {quoted(hub.ca_file)} }}")
    return f"{{ {', '.join(parts)} }}"


def _jetstream(config: NodeConfig) -> list[str]:
    lines = [
        "jetstream {",
        f"  store_dir: {quoted(config.data_dir)}",
        f"  max_file_store: {config.max_file_bytes}",
        f"  max_memory_store: {config.max_memory_bytes}",
    ]
    if config.sync_always:
        lines += ["  # Each acknowledged message is on the disk.", "  sync_interval: always"]
    if config.accounts is not None or config.leaf_port is not None:
        lines.append(f"  domain: {quoted(DOMAIN)}")
    return [*lines, "}"]


def _through(config: NodeConfig) -> list[str]:
    """Of a leaf: JetStream's API is the hub's. In operator mode accounts say that themselves."""
    if config.accounts is not None:
        return []
    return ["mappings {", f'  "$JS.API.>": {quoted(f"$JS.{DOMAIN}.API.>")}', "}"]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
