"""What the gate itself answers to a browser: an HTTP/1.1 message in words."""

from __future__ import annotations

from broker_config.origin import Origin
from runner.core.egress_policy import Refusal

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
_REFUSALS: dict[Refusal, str] = {
    "foreign_document": "{} is none of the job's origins; its pages cannot be opened",
    "foreign_resource": "{} is none of the job's origins, nor among its third_party",
    "foreign_tunnel": "{} is none of the job's origins, nor among its third_party",
    "expired": "{} is reached no more: the job's grant has ended, and no orchestrator has renewed it",
    "private_address": "{} is not a public address, and the job does not name it",
}


def refusal(kind: Refusal, origin: Origin) -> str:
    """Why the policy refuses the origin."""
    return _REFUSALS[kind].format(origin)


def answer(status: int, words: str, *, close: bool, head_only: bool) -> bytes:
    """`head_only`: it answers a HEAD."""
    body = f"{words}\n".encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
    ).encode()
    return head if head_only else head + body
