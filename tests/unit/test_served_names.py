"""Which names are ours, and which origins."""

from __future__ import annotations

from typing import Any

import pytest

from broker_config.errors import SettingsError
from orchestrator.core import exposure
from orchestrator.core.served_names import ServedNames, is_loopback

NAMES = ServedNames.of(["https://tb.example", "http://other.example:8080/"], ["Box"])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8700", "localhost", "LOCALHOST:1", "[::1]:8700", "10.1.2.3", "[fe80::1]"),
        *("tb.example", "TB.example:443", "other.example:9", "box", "box:8700"),
    ],
)
def test_addresses_localhost_and_named_hosts_are_served(host: str) -> None:
    assert NAMES.serves(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:8700", "127.0.0.1.evil.example", "localhost.evil.example"),
        *(
            "a@127.0.0.1",
            "127.0.0.1/x",
            "127.0.0.1, evil.example",
            "127.0.0.1:x",
            "[::1",
            "tb.example.",
            "::",
        ),
        *("0x7f000001.evil", "sub.tb.example", "tb.example evil", "127.0.0.1?", "127.0.0.1#"),
    ],
)
def test_all_else_is_not(host: str) -> None:
    assert not NAMES.serves(host)


def test_an_origin_is_own_only_if_it_is_exactly_that() -> None:
    own = [
        ("http://127.0.0.1:8700", "http", "127.0.0.1:8700"),
        ("http://localhost", "http", "localhost:80"),
        ("https://box", "https", "box:443"),
        ("https://tb.example", "http", "127.0.0.1:8700"),
    ]
    assert all(NAMES.is_own(*o) for o in own)
    foreign = [
        ("null", "http", "127.0.0.1:8700"),
        ("http://127.0.0.1", "http", "127.0.0.1:8700"),
        ("http://127.0.0.1:3000", "http", "127.0.0.1:8700"),
        ("https://127.0.0.1:8700", "http", "127.0.0.1:8700"),
        ("http://localhost:8700", "http", "127.0.0.1:8700"),
        ("http://tb.example", "http", "127.0.0.1:8700"),
        ("https://tb.example.evil", "http", "127.0.0.1:8700"),
        ("", "http", "127.0.0.1:8700"),
    ]
    assert not any(NAMES.is_own(*o) for o in foreign)


def test_tls_may_end_before_us() -> None:
    assert NAMES.is_secure("https", "127.0.0.1")
    assert NAMES.is_secure("http", "tb.example")
    assert not NAMES.is_secure("http", "other.example:8080")
    assert not NAMES.is_secure("http", "127.0.0.1:8700")


@pytest.mark.parametrize(
    "text", ["tb.example", "https://", "https://a/b", "ftp://a", "https://u@a", "*", "https://a:x"]
)
def test_what_is_no_origin_is_said(text: str) -> None:
    with pytest.raises(SettingsError, match="write https://host"):
        ServedNames.of([text])


def test_other_machines_take_tls_or_a_word() -> None:
    with pytest.raises(SettingsError, match="--tls-cert and --tls-key"):
        exposure.check(host="0.0.0.0", tls=False, insecure=False, anonymous=None)
    exposure.check(host="0.0.0.0", tls=True, insecure=False, anonymous="viewer")
    exposure.check(host="tb.example", tls=False, insecure=True, anonymous=None)
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        exposure.check(host=host, tls=False, insecure=False, anonymous="admin")
        assert is_loopback(host)


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_other_machines_run_nothing_without_a_credential(role: str) -> None:
    with pytest.raises(SettingsError, match="--anonymous viewer"):
        exposure.check(host="::", tls=True, insecure=False, anonymous=role)  # type: ignore[arg-type]
    # Something before it leads others here.
    behind: dict[str, Any] = {"host": "127.0.0.1", "tls": False, "insecure": False}
    with pytest.raises(SettingsError, match=r"reaches 'https://tb\.example' run"):
        exposure.check(**behind, anonymous=role, public_origins=["https://tb.example"])
    exposure.check(**behind, anonymous="viewer", public_origins=["https://tb.example"])
    exposure.check(**behind, anonymous=role, public_origins=["http://localhost:5173"])
