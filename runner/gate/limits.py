"""Bounds on what one session may hold of the gate."""

from __future__ import annotations

import msgspec


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    #: Of a request's head; a longer one is answered 431.
    request_head: int = 64 * 1024
    #: Of a response's head; a longer one cuts the connection.
    response_head: int = 256 * 1024
    #: Of request bytes that wait for their connection. Above it nothing more is read.
    waiting: int = 64 * 1024
    #: Connections of a browser at a time; more are answered 503.
    connections: int = 256
    #: From the first byte of a head to its last.
    head_time: float = 30.0
    #: Without a byte in any direction, between requests and within.
    idle: float = 300.0
    #: For name and connection to a site.
    connect: float = 15.0
    #: For connection and handshake with one proxy.
    proxy: float = 10.0
    #: For the answer to whether a proxy is still there.
    probe: float = 2.0
