"""The site's side of a relay: passes answers to the browser, and knows where each ends."""

from __future__ import annotations

import asyncio
from typing import Protocol

from broker_config.origin import Origin
from broker_config.proxy import Proxy

from .body import BadBody, Body
from .handshake import Talk
from .heads import HEAD_END, UNTIL_CLOSE, ResponseHead, is_response
from .report import Ledger


class Asker(Protocol):
    """The browser's side, as the site's side needs it."""

    def to_browser(self, data: bytes) -> None: ...
    def answered(self, site: Site, status: int) -> bool:
        """A final head is there. False: the answer is not passed on, and the site's side is dropped."""
        ...

    def done(self, site: Site) -> None:
        """The answer is complete."""
        ...

    def switched(self, site: Site) -> None:
        """From here on bytes are relayed as they come."""
        ...

    def lost(self, site: Site, *, begun: bool, clean: bool) -> None:
        """The connection has ended; `begun`: within an answer; `clean`: where it may."""
        ...

    def ended(self, site: Site) -> None:
        """Its transport is gone, whoever ended it. Called last, and always."""
        ...

    def hold(self, held: bool) -> None:
        """The site takes no more for now, or does again."""
        ...


class Site(asyncio.Protocol):
    """Takes over a transport from `talk`, by `adopt`."""

    __slots__ = (
        "_asker",
        "_body",
        "_buffer",
        "_ledger",
        "_limit",
        "_method",
        "_upgrade",
        "closed",
        "origin",
        "proxy",
        "proxy_answers",
        "reusable",
        "seen",
        "transport",
        "tunnel",
        "used",
    )

    def __init__(
        self, asker: Asker, origin: Origin, proxy: Proxy | None, absolute: bool, ledger: Ledger, limit: int
    ) -> None:
        self.origin = origin
        self.proxy = proxy
        #: Requests go in absolute form: the proxy itself may answer.
        self.proxy_answers = absolute
        self.tunnel = False
        self.closed = False
        self.reusable = True
        self.used = 0
        #: Bytes came since the gate last looked.
        self.seen = True
        self._asker = asker
        self._ledger = ledger
        self._limit = limit
        self._method: bytes | None = None
        self._upgrade = False
        self._body: Body | None = None
        self._buffer = b""

    def adopt(self, talk: Talk) -> None:
        self.transport = talk.transport
        self.transport.set_protocol(self)
        if talk.ended:
            # After the request, as if it had ended then.
            asyncio.get_running_loop().call_soon(self.connection_lost, None)
        if rest := talk.rest():
            self._buffer = rest

    @property
    def idle(self) -> bool:
        return self._method is None and not self.tunnel

    def ask(self, head: bytes, method: bytes, *, upgrade: bool) -> None:
        """Send a request's head; its body follows by `write`. `upgrade`: it asks for another protocol."""
        self._method, self._upgrade = method, upgrade
        self.used += 1
        self.write(head)
        if self._buffer:
            rest, self._buffer = self._buffer, b""
            self._feed(rest)

    def write(self, data: bytes) -> None:
        self.seen = True
        self._ledger.up += len(data)
        self.transport.write(data)

    def be_tunnel(self) -> None:
        self.tunnel = True
        if self._buffer:
            rest, self._buffer = self._buffer, b""
            self._ledger.down += len(rest)
            self._asker.to_browser(rest)

    def drop(self) -> None:
        """End it now; nothing more is heard of it."""
        self.closed = True
        self.transport.abort()

    def leave(self) -> None:
        """End it when all that was written is sent."""
        self.closed = True
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.seen = True
        if self.closed:
            return
        if self.tunnel:
            self._ledger.down += len(data)
            self._asker.to_browser(data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._method is None:
            # Nobody asked.
            self.reusable = False
            self.transport.abort()
            return
        if self._body is None:
            data = self._feed_head(data)
            if self._body is None:
                return  # not complete, or dropped, or no HTTP any more
        try:
            end = self._body.feed(data)
        except BadBody:
            # Browsers have their own view of what is still readable.
            self._body, end, self.reusable = Body(UNTIL_CLOSE), -1, False
        if end < 0:
            self._pass(data)
            return
        if end < len(data):
            self.reusable = False
        self._pass(data[:end])
        self._complete()

    def _feed_head(self, data: bytes) -> bytes:
        """Pass the head on; what is left of `data`. Afterwards `_body` is set if the head was complete."""
        data = self._buffer + data
        self._buffer = b""
        while True:
            if len(data) >= 12 and not is_response(data):
                self._begin(Body(UNTIL_CLOSE), 200)  # HTTP/0.9, or nonsense: the browser's to judge
                return data
            match = HEAD_END.search(data)
            if match is None:
                if len(data) > self._limit:
                    self.reusable = False
                    self.transport.abort()
                    return b""
                self._buffer = data
                return b""
            raw, data = data[: match.end()], data[match.end() :]
            assert self._method is not None
            head = ResponseHead(raw, self._method)
            if head.status == 101 and not self._upgrade:
                # A tunnel now would carry the browser's next requests, unseen.
                self.reusable = False
                self.transport.abort()
                return b""
            if head.status == 101:
                self._pass(raw)
                self._method = None
                self._asker.switched(self)
                self.tunnel = True
                if data:
                    self._pass(data)
                return b""
            if head.status < 200:
                self._pass(raw)
                continue
            self.reusable = self.reusable and not head.close and head.body != UNTIL_CLOSE
            if self._begin(Body(head.body), head.status):
                self._pass(raw)
            return data

    def _begin(self, body: Body, status: int) -> bool:
        if not self._asker.answered(self, status):
            self.drop()
            return False
        self._body = body
        return True

    def _pass(self, data: bytes) -> None:
        if data:
            self._ledger.down += len(data)
            self._asker.to_browser(data)

    def _complete(self) -> None:
        self._method = self._body = None
        self._asker.done(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.reusable = False
            self._tell_lost(exc)
        self._asker.ended(self)

    def _tell_lost(self, exc: Exception | None) -> None:
        if self._method is None:
            self._asker.lost(self, begun=self.tunnel, clean=exc is None)
        elif self._body is None:
            begun = bool(self._buffer)
            self._pass(self._buffer)  # less than a head; let the browser see it
            self._asker.lost(self, begun=begun, clean=False)
        else:
            self._asker.lost(self, begun=True, clean=self._body.kind == UNTIL_CLOSE and exc is None)

    def pause_writing(self) -> None:
        self._asker.hold(True)

    def resume_writing(self) -> None:
        self._asker.hold(False)
