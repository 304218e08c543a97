from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import nats_jwt
from broker_config.keyring import Keyring
from broker_config.nats_jwt import new_user_seed, public_key
from broker_config.operator_mode import broker_accounts, leaf_token
from broker_config.server_binary import find_server
from broker_config.server_config import (
    Cluster,
    LeafRemote,
    NodeConfig,
    Tls,
    quoted,
    render_cluster,
    render_node,
    templates,
)
from broker_config.streams import BUCKETS, STREAMS, Bucket, Stream
from tests.support.certificate import make_certificate

DEPLOY = Path(__file__).parents[2] / "deploy" / "nats"


def test_the_files_in_deploy_are_what_is_rendered() -> None:
    """After a change of `server_config`, write `templates()` there anew."""
    assert {p.name: p.read_text(encoding="utf-8") for p in DEPLOY.glob("*.conf")} == templates()


@pytest.mark.parametrize("name", templates())
def test_nats_server_accepts_the_file(name: str) -> None:
    check = subprocess.run(
        [find_server(), "-t", "-c", DEPLOY / name], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_by_default_a_node_listens_on_loopback_and_syncs_always() -> None:
    text = render_node(NodeConfig(name="n", data_dir="/d"))
    assert 'listen: "127.0.0.1:4222"' in text
    assert 'http: "127.0.0.1:8222"' in text
    assert "sync_interval: always" in text
    assert "cluster" not in text
    assert "sync_interval" not in render_node(NodeConfig(name="n", data_dir="/d", sync_always=False))


def test_a_node_has_room_for_all_streams_and_buckets() -> None:
    node = NodeConfig(name="n", data_dir="/d")
    declared: list[Stream | Bucket] = [*STREAMS, *BUCKETS]
    assert sum(d.max_bytes for d in declared if d.storage == "file") < node.max_file_bytes
    assert sum(d.max_bytes for d in declared if d.storage == "memory") < node.max_memory_bytes


def test_the_nodes_of_a_cluster_differ_in_name_and_address_only() -> None:
    files = render_cluster(("a", "b", "c"), "/d")
    assert list(files) == ["cluster-1.conf", "cluster-2.conf", "cluster-3.conf"]
    for n, (host, text) in enumerate(zip("abc", files.values(), strict=True), 1):
        assert f'listen: "{host}:4222"' in text
        assert f'listen: "{host}:6222"' in text
        assert text.count("nats-route://") == 3
        same = text.replace(f'"{host}:', '"a:').replace(f"trafficbuster-{n}", "trafficbuster-1")
        assert same == files["cluster-1.conf"]


def test_ipv6_addresses_are_bracketed() -> None:
    assert 'listen: "[::1]:4222"' in render_node(NodeConfig(name="n", data_dir="/d", host="::1"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoted_text_ends_where_it_ends(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert "\n" not in inside
    assert '"' not in inside.replace("\\\\", "").replace('\\"', "")


@pytest.mark.parametrize("name", ['a"b', "a\\", "$HOME", "a } #b", "a\nport: 1", "ä\x01"])
def test_nats_server_accepts_any_path(name: str, tmp_path: Path) -> None:
    config = tmp_path / "n.conf"
    config.write_text(render_node(NodeConfig(name="n", data_dir=str(tmp_path / name))), encoding="utf-8")
    check = subprocess.run([find_server(), "-t", "-c", config], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr


def test_operator_mode_tls_and_a_leaf_are_accepted(tmp_path: Path) -> None:
    keyring = Keyring.new()
    accounts = broker_accounts(keyring)
    make_certificate(tmp_path)
    tls = Tls(cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key.pem"))
    credentials = tmp_path / "leaf.creds"
    seed = new_user_seed()
    token = leaf_token(keyring, public_key(seed), now=1)
    credentials.write_text(nats_jwt.credentials(token, seed))
    app = keyring.public("app_account")
    remote = LeafRemote(
        urls=("tls://hub:7422",), account=app, credentials=str(credentials), ca_file=tls.cert_file
    )
    common = {"accounts": accounts, "tls": tls, "log_file": str(tmp_path / "log")}
    for name, more in (
        ("hub", {"leaf_port": 7422, "cluster": Cluster(routes=("h:6222",), password='p"w')}),
        ("leaf", {"leaf_of": (remote,)}),
    ):
        config = tmp_path / f"{name}.conf"
        data_dir = str(tmp_path / f"data {name}")
        node = NodeConfig(name=name, data_dir=data_dir, **common, **more)  # type: ignore[arg-type]
        config.write_text(render_node(node), encoding="utf-8")
        check = subprocess.run(
            [find_server(), "-t", "-c", config], capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, check.stderr
