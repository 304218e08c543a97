from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.address import is_link_local, is_public
from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern
from runner.core.egress_policy import (
    EgressPolicy,
    foreign_document,
    judge,
    may_dial,
    normal_host,
    parse_authority,
)

SHOP = Origin("http", "shop.example", 80)
CDN = Origin("https", "cdn.example", 443)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("LOCALHOST.", "localhost"),
        ("Shop.Example.", "shop.example"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0x7f.0.0.0x1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("::1", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::FFFF:7f00:1]", "127.0.0.1"),
        ("[2001:DB8::0:1]", "2001:db8::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a_b.example", "a_b.example"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert normal_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "a b", "%31", "256.1.1.1", "1.2.3.4.5", "1.2.3.08", "[::1", "[::1%lo]", "a/b", "a@b"],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|has a zone"):
        normal_host(text)


@given(st.integers(0, 2**32 - 1))
def test_every_spelling_of_an_address_is_that_address(number: int) -> None:
    dotted = str(ipaddress.IPv4Address(number))
    a, b, c, d = map(int, dotted.split("."))
    spellings = (
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{b}.{(c << 8) + d}",
        f"{a:#x}.0{b:o}.{c}.{d}",
        f"[::ffff:{dotted}]",
    )
    assert {normal_host(s) for s in spellings} == {dotted}


@pytest.mark.parametrize(
    ("text", "port"), [("a.example", 80), ("a.example:", 80), ("a.example:8080", 8080), ("[::1]:81", 81)]
)
def test_an_authority_has_a_port(text: str, port: int) -> None:
    assert parse_authority("http", text).port == port


@pytest.mark.parametrize("text", ["a:0", "a:65536", "a:x", "a:1:2", "[::1]x", "u@a", "a:-1"])
def test_a_wrong_authority_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|has no port"):
        parse_authority("http", text)


def test_the_empty_policy_refuses_all() -> None:
    assert judge(EgressPolicy(), SHOP, "resource").refusal == "foreign_resource"
    assert judge(EgressPolicy(), SHOP, "document").refusal == "foreign_document"
    assert judge(EgressPolicy(), SHOP, "tunnel").refusal == "foreign_tunnel"


def test_an_origin_is_scheme_host_and_port() -> None:
    policy = EgressPolicy(origins=frozenset({SHOP}))
    assert judge(policy, SHOP, "document").refusal is None
    for other in (
        SHOP._replace(port=81),
        SHOP._replace(host="www.shop.example"),
        SHOP._replace(scheme="https"),
    ):
        assert judge(policy, other, "document").refusal == "foreign_document"


def test_a_websocket_without_tls_comes_as_a_tunnel() -> None:
    policy = EgressPolicy(origins=frozenset({SHOP}))
    assert judge(policy, Origin("https", "shop.example", 80), "tunnel").refusal is None
    assert judge(policy, Origin("https", "shop.example", 443), "tunnel").refusal == "foreign_tunnel"


@pytest.mark.parametrize("third_party", ["all", (OriginPattern.parse("cdn.example"),)])
def test_third_parties_serve_resources_but_no_documents(third_party: str) -> None:
    policy = EgressPolicy(origins=frozenset({SHOP}), third_party=third_party)  # type: ignore[arg-type]
    assert judge(policy, CDN, "tunnel") == (None, True)
    assert judge(policy, CDN._replace(scheme="http", port=80), "resource") == (None, True)
    assert judge(policy, CDN._replace(scheme="http", port=80), "document").refusal == "foreign_document"
    assert judge(policy, SHOP, "resource") == (None, False)


def test_a_list_of_third_parties_is_a_list() -> None:
    policy = EgressPolicy(third_party=(OriginPattern.parse("*.cdn.example"),))
    assert judge(policy, Origin("https", "a.cdn.example", 443), "tunnel").refusal is None
    assert judge(policy, CDN, "tunnel").refusal == "foreign_tunnel"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "localhost", "a.localhost"]
)
def test_all_third_parties_are_public_ones(host: str) -> None:
    inner = Origin("http", host, 80)
    assert judge(EgressPolicy(third_party="all"), inner, "resource").refusal == "private_address"
    named = EgressPolicy(third_party=(OriginPattern(None, host, None),))
    expected = "private_address" if host == "169.254.169.254" else None
    assert judge(named, inner, "resource").refusal == expected


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.251", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fd00:ec2::254",
        "fec0::1", "ff02::fb", "168.63.129.16", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    ip = ipaddress.ip_address(address)
    assert not is_public(ip)
    assert not may_dial(EgressPolicy(), SHOP, ip)
    own = EgressPolicy(origins=frozenset({SHOP}), private_hosts=frozenset({"shop.example"}))
    assert may_dial(own, SHOP, ip) is not is_link_local(ip)
    assert may_dial(own, SHOP._replace(scheme="https"), ip) is not is_link_local(ip), "a WebSocket's tunnel"
    assert not may_dial(own, SHOP._replace(port=81), ip)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "fd00:ec2::254",
     "fd20:ce::254", "100.100.100.200", "168.63.129.16"],
)  # fmt: skip
def test_no_name_and_no_third_party_leads_to_the_machines_metadata(address: str) -> None:
    ip = ipaddress.ip_address(address)
    host = normal_host(address)
    policy = EgressPolicy(
        third_party=(OriginPattern(None, host, None),), private_hosts=frozenset({"shop.example"})
    )
    assert is_link_local(ip)
    assert judge(policy, Origin("http", host, 80), "resource").refusal == "private_address"
    assert judge(policy, Origin("https", host, 443), "tunnel").refusal == "private_address"
    assert not may_dial(policy, SHOP, ip)


@pytest.mark.parametrize(
    "url", ["http://shop.example/x", "HTTP://SHOP.EXAMPLE.:80/", "about:blank", "data:,x"]
)
def test_documents_of_the_jobs_own_origins(url: str) -> None:
    assert foreign_document(EgressPolicy(origins=frozenset({SHOP})), url) == ""


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://shop.example/", "https://shop.example"),
        ("http://shop.example:81/", "http://shop.example:81"),
        ("http://user@shop.example.evil.example/", "http://shop.example.evil.example"),
        ("http://a b/", "http://a b/"),
    ],
)
def test_documents_of_other_origins(url: str, origin: str) -> None:
    everything = EgressPolicy(origins=frozenset({SHOP}), third_party="all")
    assert foreign_document(everything, url) == origin


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_loopback_names_lead_to_loopback_only() -> None:
    local = Origin("http", "shop.localhost", 80)
    assert may_dial(EgressPolicy(), local, ipaddress.ip_address("127.0.0.1"))
    assert not may_dial(EgressPolicy(), local, ipaddress.ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    ("pattern", "fits", "differs"),
    [
        ("cdn.example", ["https://cdn.example", "http://cdn.example:81"], ["https://a.cdn.example"]),
        ("https://cdn.example", ["https://cdn.example"], ["http://cdn.example", "https://cdn.example:444"]),
        ("*.cdn.example", ["https://a.cdn.example", "http://a.b.cdn.example"], ["https://cdn.example"]),
        ("*.cdn.example", [], ["https://evilcdn.example"]),
        ("cdn.example:8443", ["https://cdn.example:8443"], ["https://cdn.example"]),
        ("http://[::1]:81", ["http://[::1]:81"], ["http://[::1]"]),
        ("CDN.example.", ["https://cdn.example"], []),
    ],
)
def test_patterns_of_origins(pattern: str, fits: list[str], differs: list[str]) -> None:
    parsed = OriginPattern.parse(pattern)
    assert all(parsed.fits(Origin.of(url)) for url in fits)
    assert not any(parsed.fits(Origin.of(url)) for url in differs)


@pytest.mark.parametrize("text", ["", "*", "*.", "ftp://a", "a.*.b", "https://a/b", "a b", "u@a", "**.a"])
def test_wrong_patterns(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        OriginPattern.parse(text)
