"""Why a session did not end ok: evidence in, an `ErrorInfo` out.

What the site does is a result. `infrastructure` is True only where the cause lies with the runner, its
browser or its way out.
"""

from __future__ import annotations

import re

import msgspec

from broker_config.messages import ErrorInfo

MAX_DETAIL = 300

#: Network errors as Chromium (`net::ERR_…`), Firefox (`NS_ERROR_…`, `SEC_ERROR_…`) and WebKit name them.
#: The first match counts.
_NETWORK: tuple[tuple[str, str], ...] = (
    (
        "egress_failed",
        r"ERR_PROXY_|ERR_TUNNEL_|ERR_SOCKS_|ERR_NO_SUPPORTED_PROXIES|NS_ERROR_PROXY_|NS_ERROR_UNKNOWN_PROXY",
    ),
    (
        "runner_network",
        r"ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED|ERR_INSUFFICIENT_RESOURCES|NS_ERROR_OFFLINE",
    ),
    ("name_not_resolved", r"ERR_NAME_|ERR_DNS_|NS_ERROR_UNKNOWN_HOST|resolv"),
    (
        "tls_failed",
        r"ERR_CERT_|ERR_SSL_|ERR_BAD_SSL_|ERR_ECH_|SEC_ERROR_|SSL_ERROR_|MOZILLA_PKIX_|NS_ERROR_NET_INADEQUATE"
        r"|[Cc]ertificate|TLS|SSL",
    ),
    (
        "connection_failed",
        r"ERR_CONNECTION_|ERR_ADDRESS_|ERR_EMPTY_RESPONSE|ERR_SOCKET_|ERR_NETWORK_ACCESS_DENIED|ERR_TIMED_OUT"
        r"|NS_ERROR_CONNECTION_|NS_ERROR_NET_RESET|NS_ERROR_NET_INTERRUPT|NS_ERROR_NET_TIMEOUT"
        r"|NS_ERROR_NET_EMPTY_RESPONSE|NS_ERROR_NET_PARTIAL|[Cc]ould not connect|connection",
    ),
    ("navigation_aborted", r"ERR_ABORTED|NS_BINDING_ABORTED|Download is starting|NS_ERROR_ABORT"),
    ("network", r"net::ERR_|NS_ERROR_|deniedPortAccess|neterror"),
)
_INFRASTRUCTURE = {"egress_failed", "runner_network"}
#: What a session ends with, whatever its traffic did.
_BEFORE_EGRESS = {"browser_crashed", "runner_error", "page_crashed"}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen when a session came to its end.

    `request_failure` is the main document's, `http_status` too. `navigating` is True until the page has
    loaded. `error` is the text of the exception; `runner_fault` says that it is no browser's.
    """

    session_limit: float | None = None
    navigation_limit: float | None = None
    browser_gone: bool = False
    runner_fault: bool = False
    page_crashed: bool = False
    page_closed: bool = False
    navigating: bool = False
    request_failure: str | None = None
    http_status: int | None = None
    error: str | None = None
    #: The step of a journey that failed, in words.
    step: str | None = None
    #: The origin, in words, whose page was opened, or nearly, without being one of the job's.
    stray: str = ""
    #: Why the main document's origin could not be reached, where the egress gate knows it.
    gate: ErrorInfo | None = None
    #: Requests to the job's own origins that the way out has lost, not the site.
    lost_requests: int = 0
    #: Where a script failed, or is when its time is up: `pay.py line 12`.
    script: str | None = None


def classify(seen: Evidence) -> ErrorInfo | None:
    """The reason of the failure, or None if the session ended ok.

    A limit that was reached stands in `session_limit` or `navigation_limit`, in seconds.
    """
    info = _by_browser(seen)
    if info is not None and info.kind in _BEFORE_EGRESS:
        return info
    if seen.stray:
        words = f"{seen.stray} is none of the job's origins, whose pages alone may be opened"
        return _info("origin_refused", words)
    if info is not None and seen.gate is not None:
        return seen.gate
    if seen.lost_requests and (info is None or info.kind != "http_status"):
        # Whatever was measured, it was not the site alone.
        words = f"{seen.lost_requests} request(s) to the job's own origins failed on the way out"
        return _info("egress_failed", words, infrastructure=True)
    return info


def _by_browser(seen: Evidence) -> ErrorInfo | None:
    """As far as the browser can tell."""
    if seen.browser_gone:
        return _info("browser_crashed", seen.error or "the browser has ended", infrastructure=True)
    if seen.runner_fault:
        return _info("runner_error", seen.error or "unknown", infrastructure=True)
    if seen.page_crashed:
        return _info("page_crashed", "the page's renderer process crashed")
    if seen.session_limit is not None:
        doing = "while the page loaded" if seen.navigating else "after the page had loaded"
        doing = f"at {seen.script}" if seen.script is not None else doing
        return _info("session_timeout", f"not done within limits.session ({seen.session_limit:g} s), {doing}")
    if seen.step is not None:
        return _step(seen.step, seen)
    if seen.script is not None:
        if seen.request_failure and (info := _network(seen.request_failure)).infrastructure:
            return info
        return _info("script_failed", f"{seen.script}: {tidy(seen.error or 'it did not end')}")
    timed_out = seen.navigation_limit is not None
    if seen.request_failure and not (timed_out and "ABORTED" in seen.request_failure):
        return _network(seen.request_failure)
    if seen.http_status is not None and seen.http_status >= 400:
        return _info("http_status", f"the server answered {seen.http_status}")
    if timed_out:
        what = "no answer" if seen.http_status is None else "answered, but not loaded"
        return _info("navigation_timeout", f"{what} within limits.navigation ({seen.navigation_limit:g} s)")
    if seen.page_closed:
        return _info("page_closed", "the page closed itself")
    if seen.error is None:
        return None
    if seen.navigating:
        return _network(seen.error)
    return _info("page_error", seen.error)


def _step(step: str, seen: Evidence) -> ErrorInfo:
    if seen.request_failure and (info := _network(seen.request_failure)).infrastructure:
        return info
    return _info("step_failed", f"{step}: {tidy(seen.error or 'it did not end')}")


def _network(text: str) -> ErrorInfo:
    said = re.sub(r"\bat [a-z]+://\S+", "", text)  # the address must not decide
    for kind, pattern in _NETWORK:
        if re.search(pattern, said):
            return _info(kind, text, infrastructure=kind in _INFRASTRUCTURE)
    return _info("network", text)


def _info(kind: str, detail: str, *, infrastructure: bool = False) -> ErrorInfo:
    return ErrorInfo(kind=kind, detail=tidy(detail), infrastructure=infrastructure)


def tidy(text: str) -> str:
    """An exception's text on one line: without call log and the name of the call, cut to `MAX_DETAIL`."""
    text = text.split("\nCall log:")[0]
    text = re.sub(r"^(?:\w+\.\w+: )?(?:Protocol error \([\w.]+\): )?", "", text.strip())
    text = " ".join(text.split())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
