"""Ports for tests that must name one beforehand."""

from __future__ import annotations

import random
import socket


def free_ports(count: int) -> list[int]:
    """Different ports on which nobody listens now.

    Below the range from which the kernel takes ports for outgoing connections: it gives none of them away
    before the test has used it.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
