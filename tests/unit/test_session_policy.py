from __future__ import annotations

import msgspec
import pytest

from broker_config.egress import Egress
from broker_config.grant import Ceiling, Grant, SignedGrant
from broker_config.messages import Dispatch
from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern
from runner.core.egress_policy import EgressPolicy
from runner.core.identity import of_session
from runner.core.session_policy import session_policy, wants_proxies

DISPATCH = Dispatch(
    job="j1",
    session=7,
    platform="linux-chromium",
    target="t",
    url="http://Shop.Example./x",
    attempt=2,
    origins=["https://shop.example:8443", "http://10.0.0.5"],
)


def test_the_origins_of_the_job_are_what_it_may_open() -> None:
    policy = session_policy(DISPATCH, "0.1.dev1")
    assert policy.origins == {
        Origin("http", "shop.example", 80),
        Origin("https", "shop.example", 8443),
        Origin("http", "10.0.0.5", 80),
    }
    assert policy.private_hosts == frozenset(), "that takes a grant"
    assert (policy.third_party, policy.rate, policy.bypass, policy.dns) == ("block", None, (), ())
    assert (policy.job, policy.session, policy.attempt) == ("j1", 7, 2)


def test_it_identifies_itself() -> None:
    policy = session_policy(DISPATCH, "0.1.dev1")
    assert policy.product == "TrafficBuster/0.1"
    assert policy.tag == "(job=j1; session=7; attempt=2)"
    assert policy.header == "X-TrafficBuster: job=j1; session=7; attempt=2"


def test_third_parties_rate_bypass_and_dns() -> None:
    dispatch = msgspec.structs.replace(
        DISPATCH,
        third_party=["*.cdn.example", "[FD00:0::1]:81", "0x7f.1"],
        rate=2.5,
        egress=Egress(pool="p", bypass=["intra.example"], dns=["192.0.2.53", "[2001:db8::53]:5353"]),
    )
    policy = session_policy(dispatch, "1.2")
    assert policy.third_party == (
        OriginPattern(None, "cdn.example", None, below=True),
        OriginPattern(None, "fd00::1", 81),
        OriginPattern(None, "0x7f.1", None),  # fits nothing: no host is spelled so here
    )
    assert policy.rate == 2.5
    assert policy.bypass == (OriginPattern(None, "intra.example", None),)
    assert policy.dns == (("192.0.2.53", 53), ("2001:db8::53", 5353))
    assert session_policy(msgspec.structs.replace(DISPATCH, third_party="all"), "1").third_party == "all"


@pytest.mark.parametrize(
    ("egress", "wanted"),
    [
        (None, False),
        (Egress(), False),
        (Egress(dns=["192.0.2.53"]), False),
        (Egress(pool="p"), True),
        (Egress(proxies=["http://p.example:1"]), True),
    ],
)
def test_whether_it_wants_proxies(egress: Egress | None, wanted: bool) -> None:
    assert wants_proxies(msgspec.structs.replace(DISPATCH, egress=egress)) is wanted


GRANT = Grant(
    job="j1",
    expires_at=1000.0,
    origins=["http://shop.example", "http://10.0.0.5", "https://other.example"],
    private_hosts=["shop.example", "other.example", "10.0.0.5"],
    ceilings={"http://shop.example": Ceiling(sessions=3, rate=1.5)},
    third_party=["*.cdn.example", "fonts.example"],
)


def granted(grant: Grant = GRANT, **more: object) -> EgressPolicy:
    changed = {"grant": SignedGrant.plain(grant), **more}
    return session_policy(msgspec.structs.replace(DISPATCH, **changed), "0.1")


def test_what_dispatch_and_grant_allow_both_is_allowed() -> None:
    policy = granted(rate=2.5, third_party=["fonts.example", "ads.example"])
    assert policy.origins == {Origin("http", "shop.example", 80), Origin("http", "10.0.0.5", 80)}
    assert policy.private_hosts == {"shop.example"}, "an address is judged as it stands"
    assert policy.third_party == (OriginPattern(None, "fonts.example", None),)
    assert (policy.rate, policy.expires_at) == (1.5, 1000.0)


def test_a_grant_adds_nothing() -> None:
    policy = granted()
    assert (policy.third_party, policy.rate) == ("block", 1.5)
    assert granted(rate=0.5).rate == 0.5
    assert Origin("https", "other.example", 443) not in policy.origins
    assert granted(third_party="all").third_party == (
        OriginPattern(None, "cdn.example", None, below=True),
        OriginPattern(None, "fonts.example", None),
    )
    nothing = msgspec.structs.replace(GRANT, origins=[], third_party="block")
    assert (granted(nothing, third_party="all").origins, granted(nothing).third_party) == (
        frozenset(),
        "block",
    )


def test_a_grant_that_cannot_be_read_is_none() -> None:
    with pytest.raises(ValueError, match=r"Grant"):
        session_policy(msgspec.structs.replace(DISPATCH, grant=SignedGrant(body="{")), "0.1")


@pytest.mark.parametrize(
    ("contact", "more"),
    [
        ("https://example.com/traffic", "; +https://example.com/traffic"),
        ("mailto:traffic@example.com", "; +mailto:traffic@example.com"),
        ("", ""),
        ("https://example.com/)\r\nX-Evil: 1", ""),
        ("javascript:alert", ""),
    ],
)
def test_it_says_whom_to_ask(contact: str, more: str) -> None:
    policy = session_policy(DISPATCH, "0.1", contact)
    assert policy.tag == f"(job=j1; session=7; attempt=2{more})"
    assert policy.header == f"X-TrafficBuster: job=j1; session=7; attempt=2{more}"
    assert of_session("UA", DISPATCH, contact) == f"UA {policy.tag}"
