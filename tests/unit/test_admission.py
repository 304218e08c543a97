from __future__ import annotations

import pytest

from broker_config.job_spec import read_spec
from orchestrator.core.admission import problems


def refused(urls: list[str], allowed: list[str]) -> list[str]:
    spec = read_spec({"targets": [{"url": u} for u in urls], "sessions": len(urls)})
    return [p.where for p in problems(spec, allowed)]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.9.9.9:81/x",
        "https://localhost/",
        "http://shop.localhost:8/",
        "http://[::1]:3/",
    ],
)
def test_loopback_is_always_allowed(url: str) -> None:
    assert refused([url], []) == []


@pytest.mark.parametrize(
    ("url", "allowed", "ok"),
    [
        ("https://shop.example/", [], False),
        ("https://shop.example/a?b", ["https://shop.example"], True),
        ("https://SHOP.example:443/", ["https://shop.example/"], True),
        ("https://shop.example./", ["https://shop.example"], True),
        ("http://shop.example/", ["https://shop.example"], False),  # another scheme
        ("https://shop.example:8443/", ["https://shop.example"], False),  # another port
        ("https://a.shop.example/", ["https://shop.example"], False),  # a subdomain
        ("https://shop.example.evil.example/", ["https://shop.example"], False),
        ("https://anything.example/", ["*"], True),
        ("http://127.0.0.1.example/", [], False),
        ("http://localhost.example/", [], False),
        ("http://128.0.0.1/", [], False),
        ("http://0.0.0.0/", [], False),
        ("http://10.0.0.1/", [], False),
        ("http://169.254.169.254/", [], False),
        ("http://2130706433/", [], False),  # 127.0.0.1 as one number: not taken for loopback
    ],
)
def test_other_origins_only_when_listed(url: str, allowed: list[str], ok: bool) -> None:
    assert (refused([url], allowed) == []) is ok


def test_every_refused_target_is_named_and_the_way_out() -> None:
    spec = read_spec(
        {
            "targets": [
                {"url": "http://127.0.0.1/"},
                {"url": "http://a.example/"},
                {"url": "http://b.example:81/"},
            ],
            "sessions": 3,
        }
    )
    found = problems(spec, ["https://a.example"])
    assert [p.where for p in found] == ["targets[1].url", "targets[2].url"]
    assert "http://b.example:81" in found[1].what
    assert "allowed_origins" in found[1].what


@pytest.mark.parametrize(
    ("pattern", "allowed", "ok"),
    [
        ("cdn.example", [], True),
        ("*.cdn.example", [], True),
        ("8.8.8.8", [], True),
        ("127.0.0.1", [], True),
        ("[::1]:81", [], True),
        ("10.0.0.1", [], False),
        ("http://169.254.169.254", [], False),
        ("[fd00::1]", [], False),
        ("[::ffff:10.0.0.1]", [], False),
        ("100.64.0.1:80", [], False),
        ("0.0.0.0", [], False),
        ("http://10.0.0.1", ["http://10.0.0.1"], True),
        ("http://10.0.0.1:81", ["http://10.0.0.1"], False),
        ("10.0.0.1", ["http://10.0.0.1"], False),  # any port of it
        ("10.0.0.1", ["*"], True),
    ],
)
def test_addresses_of_private_networks_as_third_parties(pattern: str, allowed: list[str], ok: bool) -> None:
    spec = read_spec(
        {"targets": [{"url": "http://127.0.0.1/"}], "sessions": 1, "third_party": ["a.example", pattern]}
    )
    found = problems(spec, allowed)
    assert [p.where for p in found] == ([] if ok else ["third_party[1]"])
    assert all("allowed_origins" in p.what for p in found)
