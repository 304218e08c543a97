from __future__ import annotations

import ipaddress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.address import IPAddress, is_link_local, is_public
from broker_config.origin import Origin
from broker_config.target_proof import Target, TargetGrant, normal, placements, target_id
from orchestrator.core.target_rules import (
    AddressKind,
    Grounds,
    address_problem,
    is_fresh,
    kind_of,
    standing,
)
from orchestrator.settings import OrchestratorConfig, grounds_of

KINDS = {
    "8.8.8.8": "public",
    "2606:4700::1111": "public",
    "127.0.0.1": "loopback",
    "127.255.0.9": "loopback",
    "::1": "loopback",
    "10.1.2.3": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "172.32.0.1": "public",
    "192.168.1.1": "private",
    "fd12:3456::1": "private",
    "fec0::1": "private",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "100.128.0.1": "public",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "169.254.169.254": "metadata",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "0.0.0.0": "reserved",
    "::": "reserved",
    "224.0.0.1": "reserved",
    "ff02::1": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "192.0.2.1": "reserved",
    "2001:db8::1": "reserved",
    "::7f00:1": "reserved",
    "64:ff9b:1::a00:1": "reserved",
}
SHOP = Origin("https", "shop.example", 443)
TARGET = Target(
    origin=str(SHOP), project="shop", token="t", state="verified", method="file", verified_at=100.0
)
NOTHING = Grounds(loopback_free=False)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


def carried(address: ipaddress.IPv4Address) -> list[IPAddress]:
    """As mapped, by 6to4, and by NAT64."""
    number = int(address)
    return [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
    ]


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_kinds_of_addresses(text: str, kind: AddressKind) -> None:
    assert kind_of(ipaddress.ip_address(text)) == kind


@given(v4)
def test_a_carried_address_is_what_it_carries(address: ipaddress.IPv4Address) -> None:
    for outer in carried(address):
        assert kind_of(outer) == kind_of(address), outer


@given(v4 | v6)
def test_every_address_has_one_kind_that_agrees_with_the_gate(address: IPAddress) -> None:
    kind = kind_of(address)
    assert kind in get_args(AddressKind)
    assert (kind == "public") is is_public(address) or kind == "reserved"
    assert is_link_local(address) is (kind in ("metadata", "link-local"))


@given(v4 | v6, st.booleans(), st.booleans())
def test_names_lead_nowhere_else_than_to_public_addresses_without_leave(
    address: IPAddress, granted: bool, free: bool
) -> None:
    problem, kind = address_problem(address, granted=granted, loopback_free=free), kind_of(address)
    if kind == "public":
        assert not problem
    elif kind in ("metadata", "link-local", "reserved"):
        assert problem, "nobody can allow that"
    elif kind == "loopback":
        assert bool(problem) is not (granted or free)
    else:
        assert bool(problem) is not granted


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Shop.Example./a?b", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("https://[::ffff:10.0.0.1]:8443/", "https://10.0.0.1:8443"),
        ("http://[FD00:0::1]", "http://[fd00::1]"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1"),
    ],
)
def test_the_one_spelling(url: str, origin: str) -> None:
    assert normal(url) == origin
    assert len(target_id(origin)) == 32


@pytest.mark.parametrize(
    "url", ["shop.example", "ftp://a.example", "http://0x7f.1", "http://2130706433", "http://1.2.3"]
)
def test_what_can_be_no_target(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no name|is not an absolute"):
        normal(url)


def test_a_proved_origin_is_used_by_its_project() -> None:
    found = standing(SHOP, "shop", NOTHING, TARGET)
    assert (found.problem, found.proof, found.private) == ("", True, False)


def test_without_a_target_it_is_said_what_to_do() -> None:
    assert (
        "`tb targets add https://shop.example --project shop`"
        in standing(SHOP, "shop", NOTHING, None).problem
    )
    assert "`tb targets add https://shop.example`" in standing(SHOP, "default", NOTHING, None).problem


def test_what_is_not_proved_is_not_used() -> None:
    for state in ("pending", "failed"):
        target = msgspec.structs.replace(TARGET, state=state, detail="gone")
        assert "tb targets verify" in standing(SHOP, "shop", NOTHING, target).problem


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "100.64.0.1", "fd00::1", "169.254.7.7", "127.0.0.1", "localhost"]
)
def test_what_is_not_public_takes_the_grant_of_an_admin(host: str) -> None:
    origin = Origin("http", host, 80)
    target = msgspec.structs.replace(TARGET, origin=str(origin))
    assert "tb targets grant" in standing(origin, "shop", NOTHING, target).problem
    allowed = msgspec.structs.replace(target, grant=TargetGrant())
    assert standing(origin, "shop", NOTHING, allowed) == ("", True, True)
    pending = msgspec.structs.replace(allowed, state="pending")
    assert "is not proved yet" in standing(origin, "shop", NOTHING, pending).problem
    waived = msgspec.structs.replace(pending, grant=TargetGrant(without_proof=True))
    assert standing(origin, "shop", NOTHING, waived) == ("", False, True)


@pytest.mark.parametrize("host", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_metadata_services_are_no_target_whoever_grants_it(host: str) -> None:
    origin = Origin("http", host, 80)
    target = Target(origin=str(origin), project="shop", token="t", grant=TargetGrant(without_proof=True))
    assert "credentials" in standing(origin, "shop", NOTHING, target).problem
    assert not Grounds(["*"]).frees(origin)
    assert Grounds([f"http://[{host}]" if ":" in host else f"http://{host}"]).allows(
        Origin.of(normal(str(origin)))
    )


def test_the_operators_own_grant_holds_for_all_and_leads_anywhere() -> None:
    grounds = Grounds(["https://SHOP.example/"], loopback_free=False)
    assert standing(SHOP, "any", grounds, None) == ("", False, True)
    assert standing(SHOP._replace(port=8443), "any", grounds, None).problem


@pytest.mark.parametrize(
    ("more", "free"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"nats": "nats://127.0.0.1:4222,nats://[::1]:4223"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "tb.example"}, False),
        ({"nats": "nats://127.0.0.1:4222,tls://broker.example"}, False),
        ({"runner_nats": ["tls://0.0.0.0:4222"]}, False),
        ({"public_origins": ["http://localhost:5173"]}, True),
        ({"public_origins": ["https://tb.example"]}, False),
    ],
)
def test_loopback_is_free_where_nobody_else_comes(more: dict[str, object], free: bool) -> None:
    grounds = grounds_of(
        msgspec.convert({**msgspec.to_builtins(OrchestratorConfig()), **more}, OrchestratorConfig)
    )
    assert grounds.frees(Origin("http", "127.0.0.1", 81)) is free


def test_when_a_proof_is_fresh() -> None:
    assert is_fresh(TARGET, 100.0, 60)
    assert is_fresh(TARGET, 159.9, 60)
    assert not is_fresh(TARGET, 160.0, 60)
    assert not is_fresh(TARGET, 99.0, 60), "a clock that was set back proves nothing"
    assert not is_fresh(msgspec.structs.replace(TARGET, state="failed"), 100.0, 60)


def test_what_is_put_where() -> None:
    file, txt, meta = placements("https://shop.example:8443", "tok")
    assert file.where == "https://shop.example:8443/.well-known/trafficbuster-verification.txt"
    assert (txt.where, txt.what) == ("TXT record of _trafficbuster.shop.example", "tok")
    assert meta.what == '<meta name="trafficbuster-verification" content="tok">'
    assert [p.method for p in placements("http://10.0.0.1", "tok")] == ["file", "meta"]
