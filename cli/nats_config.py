"""`tb nats config`: files of nats-servers of one's own that let in nobody without a credential."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker_config.errors import SettingsError
from broker_config.keyring import Keyring
from broker_config.operator_mode import broker_accounts
from broker_config.server_config import CLUSTER_NAME, NodeConfig, Tls, render_cluster, render_node

from . import private_file
from .output import err
from .settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def write(
    settings: Settings, directory: Path, *, nodes: Sequence[str], store: str, node_ca: str | None
) -> None:
    """One file a node, which only its owner can read; says what orchestrators are to be told.

    Raises `SettingsError`.
    """
    hosts = list(nodes) or ["127.0.0.1"]
    if not settings.keys:
        raise SettingsError("the broker needs keys: name them by --keys; `tb keys init DIR` makes new ones")
    if len(hosts) not in (1, 3) or len(set(hosts)) < len(hosts):
        raise SettingsError(f"--node {', '.join(hosts)} is not allowed; name one host, or three that differ")
    if not settings.nats_port:
        raise SettingsError("--nats-port 0 is not allowed: orchestrators have to know the port")
    files = _files(settings, hosts, store, node_ca)
    _keep(directory, files)
    _tell(settings, directory, hosts, list(files))


def _files(settings: Settings, hosts: Sequence[str], store: str, node_ca: str | None) -> dict[str, str]:
    tls = _tls(settings, hosts)
    accounts = broker_accounts(Keyring.load(Path(settings.keys)))
    port = settings.nats_port
    if len(hosts) == 1:
        node = NodeConfig(
            name=CLUSTER_NAME, data_dir=store, host=hosts[0], port=port, accounts=accounts, tls=tls
        )
        return {"nats.conf": render_node(node, "Start: nats-server -c nats.conf")}
    node_tls = None
    if tls is not None and node_ca:
        node_tls = Tls(cert_file=tls.cert_file, key_file=tls.key_file, ca_file=str(Path(node_ca).absolute()))
    elif tls is not None and not settings.insecure:
        raise SettingsError(
            "nodes tell each other everything, so they talk TLS too: name the authority of their "
            "certificates by --node-ca; or --insecure where port 6222 is on a network of their own"
        )
    return render_cluster(
        hosts,
        store,
        port=port,
        accounts=accounts,
        tls=tls,
        node_tls=node_tls,
        password=secrets.token_urlsafe(24),
        heading="One file a machine; all three of one making, as they share a password.",
    )


def _tls(settings: Settings, hosts: Sequence[str]) -> Tls | None:
    if settings.tls_cert and settings.tls_key:
        return Tls(
            cert_file=str(Path(settings.tls_cert).absolute()), key_file=str(Path(settings.tls_key).absolute())
        )
    if settings.tls_cert or settings.tls_key:
        raise SettingsError("--tls-cert and --tls-key belong together; give both")
    if settings.insecure or all(host in _LOOPBACK for host in hosts):
        return None
    raise SettingsError(
        f"{', '.join(hosts)} can be reached from other machines, which takes TLS (--tls-cert and --tls-key), "
        "or --insecure where the network is trusted"
    )


def _keep(directory: Path, files: Mapping[str, str]) -> None:
    """None of them goes over another: nodes of two makings do not know each other."""
    for name in files:
        if (directory / name).exists():
            raise SettingsError(f"{directory / name} is there already; name another directory by --out")
    for name, text in files.items():
        private_file.write(directory / name, text)


def _tell(settings: Settings, directory: Path, hosts: Sequence[str], names: Sequence[str]) -> None:
    console = err()
    for host, name in zip(hosts, names, strict=True):
        console.print(f"on {host}: nats-server -c {directory / name}", markup=False, soft_wrap=True)
    scheme = "tls" if settings.tls_cert else "nats"
    at = ",".join(f"{scheme}://{f'[{h}]' if ':' in h else h}:{settings.nats_port}" for h in hosts)
    start = ["tb", "orchestrator", "start", "--secure", "--keys", settings.keys, "--nats", at]
    start += ["--replicas", "3"] if len(hosts) > 1 else []
    console.print(f"then:  {shlex.join(start)}", markup=False, soft_wrap=True)
