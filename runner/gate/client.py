"""The browser's side of a relay: reads requests, has them judged, sends them on their way."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Literal, cast

from broker_config.messages import ErrorInfo
from broker_config.origin import Origin
from broker_config.proxy import Proxy
from runner.core.egress_policy import Refusal

from .answer import ESTABLISHED, answer, refusal
from .body import BadBody, Body
from .handshake import authorization
from .heads import BadRequest, RequestHead
from .resolver import AddressRefused
from .site import Site
from .way import NoProxyLeft, SiteFailed, Tries, Way

if TYPE_CHECKING:
    from .lease import Lease

#: Seconds for the browser to close a connection on which nothing more will come.
_LINGER = 5.0
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

#: `head`: waits for a request. `opening`: one waits for its way. `asking`: its body is being sent, or its
#: answer is awaited. `tunnel`: bytes are relayed as they come. `refused`: what comes is thrown away.
State = Literal["head", "opening", "asking", "tunnel", "refused"]


class Client(asyncio.Protocol):
    """One connection of a browser. One request at a time; what is sent ahead waits."""

    __slots__ = (
        "_body",
        "_buffer",
        "_choked",
        "_closed",
        "_full",
        "_head",
        "_head_since",
        "_held",
        "_lease",
        "_quiet_since",
        "_site",
        "_state",
        "_task",
        "_tries",
        "seen",
        "transport",
    )

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._state: State = "head"
        self._buffer = b""
        self._site: Site | None = None
        self._head: RequestHead | None = None
        self._body: Body | None = None
        self._tries = Tries()
        self._task: asyncio.Task[None] | None = None
        #: The site takes no more; too much is buffered here; the browser takes no more; all is over.
        self._held = self._full = self._choked = self._closed = False
        self._head_since: float | None = None
        self._quiet_since = 0.0
        self.seen = True

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._lease.add(self):
            words = f"this session has more than {self._lease.limits.connections} connections"
            self._lease.ledger.refuse("limit", None, words)
            self._answer(503, words, close=True)
        elif not self._lease.free.is_set():
            self.flow()

    def data_received(self, data: bytes) -> None:
        self.seen = True
        if self._state == "tunnel":
            assert self._site is not None
            self._site.write(data)
        elif self._state != "refused":
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._lease.remove(self)
        if self._task is not None:
            self._task.cancel()
        site, self._site = self._site, None
        if site is not None and not site.closed:
            if site.tunnel and exc is None:
                site.leave()
            else:
                self._forget(site)
                site.drop()

    def pause_writing(self) -> None:
        self._choked = True
        self._flow_back()

    def resume_writing(self) -> None:
        self._choked = False
        self._flow_back()

    def flow(self) -> None:
        """The lease is held, or let go."""
        self._flow()
        self._flow_back()

    # Requests

    def _advance(self) -> None:
        """Do what can be done with what is buffered."""
        while self._buffer and not self._closed:
            if self._state == "head":
                if not self._take_head():
                    break
            elif self._state == "asking" and self._body is not None:
                self._send_body()
            else:
                break
        self._fill()

    def _take_head(self) -> bool:
        """True if there was a whole one."""
        lease = self._lease
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > lease.limits.request_head:
            if len(self._buffer) > lease.limits.request_head:
                self._refuse("malformed", None, "the head of the request is too long", 431)
            elif self._head_since is None:
                self._head_since = lease.clock()
            return False
        self._head_since = None
        raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        try:
            head = RequestHead(raw)
        except BadRequest as e:
            self._refuse("malformed", None, str(e), e.status)
            return False
        self._head = head
        tunnel = head.method == b"CONNECT"
        judgement = lease.judge(head.origin, head.purpose)
        if judgement.refusal is not None:
            words = refusal(judgement.refusal, head.origin)
            self._refuse(judgement.refusal, head.origin, words, 403)
            return self._state == "head"
        if judgement.third_party:
            lease.ledger.third_party(head.origin)
        if tunnel:
            lease.ledger.tunnels += 1
        else:
            lease.ledger.requests += 1
        self._body = Body(head.body) if head.body else None
        self._tries = Tries()
        wait = lease.wait(head.origin)
        if not wait and self._is_reusable(head.origin):
            self._ask()
        else:
            self._state = "opening"
            self._task = lease.spawn(self._open(head, wait))
        return True

    def _is_reusable(self, origin: Origin) -> bool:
        site = self._site
        return site is not None and site.origin == origin and site.reusable and site.idle and not site.closed

    async def _open(self, head: RequestHead, wait: float) -> None:
        """Find a way, and send the request on it."""
        if wait:
            await asyncio.sleep(wait)
            if self._is_reusable(head.origin):
                self._task = None
                self._ask()
                self._advance()
                return
        self._leave_site()
        tunnel = head.method == b"CONNECT"
        try:
            await self._lease.free.wait()
            way = await self._lease.ways.open(head.origin, self._tries, tunnel=tunnel)
        except AddressRefused as e:
            self._refuse("private_address", head.origin, str(e), 403)
        except SiteFailed as e:
            self._fail(head.origin, ErrorInfo(kind=e.kind, detail=str(e)))
        except NoProxyLeft as e:
            self._fail(head.origin, ErrorInfo(kind="egress_failed", detail=str(e), infrastructure=True))
        except Exception:
            self._close(abort=True)  # a fault of the gate: the browser must not wait for it
            raise
        else:
            self._task = None
            self._start(head, way)
            self._advance()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _start(self, head: RequestHead, way: Way) -> None:
        lease = self._lease
        lease.ledger.connections += 1
        site = Site(self, head.origin, way.proxy, way.absolute, lease.ledger, lease.limits.response_head)
        self._site = site
        lease.sites.add(site)
        if head.method == b"CONNECT":
            lease.ledger.reached(head.origin)
            self._state = "tunnel"
            self.transport.write(ESTABLISHED)
            site.adopt(way.talk)
            site.be_tunnel()
            if self._buffer:
                data, self._buffer = self._buffer, b""
                site.write(data)
        else:
            site.adopt(way.talk)
            self._ask()
        self._flow_back()

    def _ask(self) -> None:
        """Send the head."""
        site, head, policy = self._site, self._head, self._lease.policy
        assert site is not None
        assert head is not None
        self._state = "asking"
        if site.proxy_answers and site.proxy is not None:
            raw = head.absolute(policy.product, policy.tag, policy.header, authorization(site.proxy))
        else:
            raw = head.direct(policy.product, policy.tag, policy.header)
        site.ask(raw, head.method, upgrade=head.upgrade)

    def _send_body(self) -> None:
        assert self._body is not None
        assert self._site is not None
        try:
            end = self._body.feed(self._buffer)
        except BadBody as e:
            self._refuse("malformed", None, str(e), 400)
            return
        part = self._buffer if end < 0 else self._buffer[:end]
        self._buffer = b"" if end < 0 else self._buffer[end:]
        if end >= 0:
            self._body = None
        self._site.write(part)

    # What the site's side tells

    def to_browser(self, data: bytes) -> None:
        self.transport.write(data)

    def answered(self, site: Site, status: int) -> bool:
        if site.proxy_answers and site.proxy is not None:
            if status == 407:
                self._lease.ways.blame(site.proxy, "it refuses the credentials (407)")
                self._try_again(site)
                return False
            self._lease.ways.proven(site.proxy, self._tries)
            self._lease.ledger.used(str(site.proxy))
        self._lease.ledger.reached(site.origin)
        return True

    def done(self, site: Site) -> None:
        head = self._head
        if not site.reusable:
            self._leave_site()
        if head is None or head.close or self._body is not None:
            self._close()  # the last one, or answered before all was sent
            return
        self._head = None
        self._state = "head"
        self._advance()

    def switched(self, site: Site) -> None:
        self._state = "tunnel"
        self._full = False
        self._flow()
        if self._buffer:
            data, self._buffer = self._buffer, b""
            site.write(data)

    def lost(self, site: Site, *, begun: bool, clean: bool) -> None:
        if site is not self._site:
            return
        self._site = None
        self.hold(False)
        if site.tunnel:
            if site.proxy is not None:
                self._lease.suspect(site.proxy, site.origin)
            self._close(abort=not clean)
        elif site.idle:
            self._forget(site)  # the next request finds a way of its own
        elif begun:
            if site.proxy is not None and not clean:
                self._lease.suspect(site.proxy, site.origin)
            self._close(abort=not clean)
        elif site.used > 1 and self._head is not None and self._head.repeatable:
            # It ended while it was not used; the request did not arrive.
            self._tries = Tries()
            self._open_again()
        elif site.proxy is not None:
            if site.proxy_answers:
                self._forget(site)
                self._state = "opening"
                self._task = self._lease.spawn(self._find_out(site, site.proxy))
            else:
                self._lease.suspect(site.proxy, site.origin)
                self._close()
        else:
            self._close()

    def ended(self, site: Site) -> None:
        self._lease.sites.discard(site)

    def hold(self, held: bool) -> None:
        self._held = held
        self._flow()

    # Ends

    def check(self, now: float) -> None:
        """Called now and then: ends what takes too long."""
        limits = self._lease.limits
        if self._state == "refused":
            if now - self._quiet_since > _LINGER:
                self.abort()
            return
        if self._head_since is not None and now - self._head_since > limits.head_time:
            self._refuse("limit", None, f"no whole request head within {limits.head_time:g} s", 408)
            return
        if self.seen or (self._site is not None and self._site.seen) or self._state == "opening":
            self.seen = False
            if self._site is not None:
                self._site.seen = False
            self._quiet_since = now
        elif now - self._quiet_since > limits.idle:
            self.abort()

    def abort(self) -> None:
        """End it with a reset, so that nobody takes half an answer for a whole one."""
        if not self._closed:
            reset(self.transport)
        self.transport.abort()

    def _try_again(self, site: Site) -> None:
        """By another proxy, where the request allows it."""
        self._site = None
        assert self._head is not None
        if self._head.repeatable:
            self._open_again()
        else:
            words = "the proxy failed with a request that cannot be sent twice"
            self._lease.ledger.lost(site.origin)
            self._fail(site.origin, ErrorInfo(kind="egress_failed", detail=words, infrastructure=True))

    async def _find_out(self, site: Site, proxy: Proxy) -> None:
        try:
            await self._lease.ways.no_answer(proxy, self._tries)
        except Exception:
            self._close(abort=True)  # as in `_open`
            raise
        self._try_again(site)

    def _open_again(self) -> None:
        assert self._head is not None
        self._state = "opening"
        self._task = self._lease.spawn(self._open(self._head, 0.0))

    def _refuse(self, kind: Refusal, origin: Origin | None, words: str, status: int) -> None:
        self._lease.ledger.refuse(kind, origin, words)
        self._answer(status, f"refused: {words}", close=self._body_follows or status != 403)

    @property
    def _body_follows(self) -> bool:
        head = self._head
        return head is None or head.body != 0 or head.method == b"CONNECT" or head.close

    def _fail(self, origin: Origin, info: ErrorInfo) -> None:
        self._lease.ledger.cause(origin, info)
        self._answer(502, info.detail, close=True)

    def _answer(self, status: int, words: str, *, close: bool) -> None:
        head_only = self._head is not None and self._head.method == b"HEAD"
        self.transport.write(answer(status, words, close=close, head_only=head_only))
        if close:
            self._close()
        else:
            self._head = None
            self._state = "head"

    def _close(self, *, abort: bool = False) -> None:
        """What was written still goes out; what comes is thrown away, so that no reset overtakes it."""
        self._state = "refused"
        self._quiet_since = self._lease.clock()
        self._head_since = None
        self._buffer = b""
        self._leave_site()
        if abort:
            self.abort()
        elif not self.transport.is_closing():
            self._full = self._held = False
            self._flow()
            self.transport.write_eof()

    def _leave_site(self) -> None:
        site, self._site = self._site, None
        if site is not None and not site.closed:
            self._forget(site)
            site.drop()
            self.hold(False)

    def _forget(self, site: Site) -> None:
        """A connection to a proxy that may have shown nothing."""
        if site.proxy_answers and site.proxy is not None:
            self._lease.ways.unproven(site.proxy)

    # Flow

    def _fill(self) -> None:
        full = len(self._buffer) > self._lease.limits.waiting
        if full is not self._full:
            self._full = full
            self._flow()

    def _flow(self) -> None:
        if self._closed or self.transport.is_closing():
            return
        if self._held or self._full or not self._lease.free.is_set():
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _flow_back(self) -> None:
        if self._site is None or self._site.closed:
            return
        if self._choked or not self._lease.free.is_set():
            self._site.transport.pause_reading()
        else:
            self._site.transport.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """Its end will be a reset: what was written and is not sent yet is never sent."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
