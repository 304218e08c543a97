"""`/socket-tickets`: what browsers show at the handshake of `/ws`, where they send no header of their own."""

from __future__ import annotations

from starlette.requests import Request

from broker_config.api import SocketTicket
from orchestrator.core.access import KNOWN

from .authentication import SUBPROTOCOL, principal
from .typed_route import Reply, TypedRoute
from .web_state import web


async def add_socket_ticket(request: Request) -> Reply[SocketTicket]:
    """Get a ticket for one handshake of `/ws`, good for 30 s.

    It goes into the header `Sec-WebSocket-Protocol`, as `tb.v1, ticket.<…>`; never into the URL.
    """
    ticket = await web(request).tickets.issue(principal(request))
    return Reply(SocketTicket(ticket=ticket, protocols=[SUBPROTOCOL, f"ticket.{ticket}"]), 201)


ROUTES = [
    TypedRoute(
        "POST",
        "/socket-tickets",
        add_socket_ticket,
        tag="sockets",
        access=KNOWN,
        audits="socket.ticket",
        statuses={201: "The ticket."},
        problems=(502, 503, 507),
    ),
]
