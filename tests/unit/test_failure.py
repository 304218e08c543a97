"""Classes of failure: by the main document's request, then its status, then the exception."""

from __future__ import annotations

import pytest

from broker_config.messages import ErrorInfo
from runner.core.failure import MAX_DETAIL, Evidence, classify, tidy


def kind(**seen: object) -> str | None:
    info = classify(Evidence(**seen))  # type: ignore[arg-type]
    return None if info is None else info.kind


@pytest.mark.parametrize(
    ("text", "expected", "infrastructure"),
    [
        ("net::ERR_CONNECTION_REFUSED", "connection_failed", False),
        ("net::ERR_CONNECTION_RESET", "connection_failed", False),
        ("net::ERR_EMPTY_RESPONSE", "connection_failed", False),
        ("net::ERR_ADDRESS_UNREACHABLE", "connection_failed", False),
        ("NS_ERROR_CONNECTION_REFUSED", "connection_failed", False),
        ("NS_ERROR_NET_RESET", "connection_failed", False),
        ("net::ERR_NAME_NOT_RESOLVED", "name_not_resolved", False),
        ("NS_ERROR_UNKNOWN_HOST", "name_not_resolved", False),
        ("net::ERR_CERT_AUTHORITY_INVALID", "tls_failed", False),
        ("net::ERR_SSL_PROTOCOL_ERROR", "tls_failed", False),
        ("SEC_ERROR_UNKNOWN_ISSUER", "tls_failed", False),
        ("SSL_ERROR_RX_RECORD_TOO_LONG", "tls_failed", False),
        ("net::ERR_ABORTED", "navigation_aborted", False),
        ("net::ERR_UNSAFE_PORT", "network", False),
        ("net::ERR_TOO_MANY_REDIRECTS", "network", False),
        ("something new", "network", False),
        ("net::ERR_PROXY_CONNECTION_FAILED", "egress_failed", True),
        ("net::ERR_TUNNEL_CONNECTION_FAILED", "egress_failed", True),
        ("net::ERR_SOCKS_CONNECTION_FAILED", "egress_failed", True),
        ("NS_ERROR_PROXY_CONNECTION_REFUSED", "egress_failed", True),
        ("net::ERR_INTERNET_DISCONNECTED", "runner_network", True),
    ],
)
def test_network_errors(text: str, expected: str, infrastructure: bool) -> None:
    by_request = classify(Evidence(navigating=True, request_failure=text, error="whatever"))
    by_exception = classify(
        Evidence(navigating=True, error=f"Page.goto: {text} at http://a.example/\nCall log:\n x")
    )
    for info in (by_request, by_exception):
        assert info is not None
        assert (info.kind, info.infrastructure) == (expected, infrastructure)
        assert text in info.detail
        assert "\n" not in info.detail


def test_an_address_in_the_message_does_not_decide() -> None:
    error = "Page.goto: net::ERR_CONNECTION_REFUSED at http://resolve.example/TLS/certificate?ERR_CERT_X"
    assert kind(navigating=True, error=error) == "connection_failed"


def test_the_gate_knows_better_why_a_page_could_not_be_had() -> None:
    gate = ErrorInfo(kind="connection_failed", detail="no connection to http://a.example")
    tunnel = "net::ERR_TUNNEL_CONNECTION_FAILED"
    for seen in (
        {"navigating": True, "request_failure": tunnel, "error": "x"},
        {"http_status": 502},  # the gate's own
        {"step": "step 1", "error": "the server answered 502"},
        {"navigation_limit": 5.0},
        {"session_limit": 5.0},
    ):
        assert classify(Evidence(gate=gate, **seen)) == gate  # type: ignore[arg-type]
        assert kind(**seen) != "connection_failed"
    assert kind(gate=gate, http_status=200) is None, "something else of that origin failed"
    assert kind(gate=gate, browser_gone=True) == "browser_crashed"
    assert kind(gate=gate, page_crashed=True) == "page_crashed"


def test_a_page_of_another_origin_ends_the_session() -> None:
    info = classify(Evidence(stray="https://evil.example", http_status=200))
    assert info is not None
    assert (info.kind, info.infrastructure) == ("origin_refused", False)
    assert "https://evil.example" in info.detail
    assert kind(stray="https://evil.example", request_failure="net::ERR_ABORTED") == "origin_refused"
    assert kind(stray="https://evil.example", browser_gone=True) == "browser_crashed"


def test_what_the_way_out_has_lost_makes_no_result() -> None:
    info = classify(Evidence(lost_requests=2, http_status=200))
    assert info is not None
    assert (info.kind, info.infrastructure) == ("egress_failed", True)
    assert kind(lost_requests=1, step="step 1", error="x") == "egress_failed"
    assert kind(lost_requests=1, http_status=500) == "http_status", "the site has answered"
    gate = ErrorInfo(kind="connection_failed")
    assert kind(lost_requests=1, gate=gate, request_failure="net::ERR_X", navigating=True) == gate.kind


def test_nothing_seen_is_ok() -> None:
    assert kind(http_status=200) is None
    assert kind(http_status=304) is None
    assert kind() is None


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_an_answer_of_the_site_is_a_result(status: int) -> None:
    info = classify(Evidence(http_status=status))
    assert info is not None
    assert (info.kind, info.infrastructure) == ("http_status", False)
    assert str(status) in info.detail


def test_limits() -> None:
    assert (
        kind(navigating=True, navigation_limit=30.0, error="Timeout 30000ms exceeded") == "navigation_timeout"
    )
    assert kind(navigating=True, session_limit=120.0) == "session_timeout"
    assert kind(http_status=200, session_limit=120.0) == "session_timeout"
    # The browser gives up the request because we do.
    assert kind(navigating=True, navigation_limit=1.0, request_failure="net::ERR_ABORTED", error="x") == (
        "navigation_timeout"
    )
    # A request that has failed where goto only hangs.
    assert kind(
        navigating=True, navigation_limit=1.0, request_failure="net::ERR_TUNNEL_CONNECTION_FAILED"
    ) == ("egress_failed")
    assert kind(navigating=True, navigation_limit=1.0, http_status=503, error="x") == "http_status"


def test_only_the_browser_is_infrastructure() -> None:
    gone = classify(Evidence(browser_gone=True, error="Target closed", http_status=500, page_crashed=True))
    assert gone is not None
    assert (gone.kind, gone.infrastructure) == ("browser_crashed", True)
    bug = classify(Evidence(runner_fault=True, error="KeyError: 'steps'", http_status=200))
    assert bug is not None
    assert (bug.kind, bug.infrastructure) == ("runner_error", True)
    for evidence in (
        Evidence(page_crashed=True, error="Target crashed", http_status=200),
        Evidence(page_closed=True, error="Target closed", http_status=200),
        Evidence(error="Page.evaluate: TypeError: x", http_status=200),
        Evidence(session_limit=1.0),
    ):
        info = classify(evidence)
        assert info is not None
        assert not info.infrastructure


def test_kinds_of_pages_that_end() -> None:
    assert kind(page_crashed=True, error="Target crashed") == "page_crashed"
    assert kind(page_closed=True, error="Target closed", http_status=200) == "page_closed"
    assert kind(error="Page.evaluate: TypeError: x", http_status=200) == "page_error"


def test_details_are_one_short_line() -> None:
    assert tidy("Page.goto: net::ERR_X at http://a/\nCall log:\n  - navigating") == "net::ERR_X at http://a/"
    assert tidy("Page.goto: Protocol error (a.b): boom\n  there") == "boom there"
    assert len(tidy("x" * 5000)) == MAX_DETAIL
