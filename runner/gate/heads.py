"""Heads of HTTP/1 messages: requests read strictly and written anew, responses read as far as needed."""

from __future__ import annotations

import re
from functools import lru_cache

from broker_config.origin import Origin
from runner.core.egress_policy import Purpose, parse_authority

CHUNKED = -1
UNTIL_CLOSE = -2

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z0-9_-]{0,31}) ([\x21-\x7e\x80-\xff]{1,65536}) HTTP/1\.([01])")
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*")
_ABSOLUTE = re.compile(rb"(?i:([a-z][a-z0-9+.-]*))://([^/?#]*)([^#]*)")
_LENGTH = re.compile(rb"[0-9]{1,15}")

_RESPONSE_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})\b")
HEAD_END = re.compile(rb"\r?\n\r?\n")
_RESPONSE_FIELD = re.compile(
    rb"(?im)^(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*?)[ \t]*\r?$"
)


class BadRequest(Exception):
    """`status` and words for the answer."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


class RequestHead:
    """One request as the browser sent it to its proxy.

    `body` is its length, 0 for none, or `CHUNKED`. `target` is what stands behind the authority; "" in a
    CONNECT.
    """

    __slots__ = ("_fields", "body", "close", "method", "origin", "purpose", "target", "upgrade", "version")

    def __init__(self, raw: bytes) -> None:
        """`raw` ends with its empty line. Raises `BadRequest`."""
        line, _, fields = raw[:-2].partition(b"\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or _FIELDS.fullmatch(fields) is None:
            raise BadRequest(400, "this is no HTTP/1 request with well-formed header fields")
        self.method, target, self.version = match.groups()
        self.body = 0
        self.close = self.version == b"0"
        self.upgrade = False
        self.purpose: Purpose = "resource"
        self._fields: list[tuple[bytes, bytes]] = []
        host = self._read(fields)
        if self.method == b"CONNECT":
            if self.body:
                raise BadRequest(400, "a CONNECT has no body")
            self.purpose = "tunnel"
            self.target = b""
            if b":" not in target:
                raise BadRequest(400, "the target of a CONNECT is host:port")
            self.origin = _authority("https", target)
        else:
            absolute = _ABSOLUTE.fullmatch(target)
            if absolute is None:
                raise BadRequest(400, "this is a forward proxy: the request needs an absolute URL")
            scheme, authority, rest = absolute.groups()
            if scheme.lower() not in (b"http", b"ws"):
                raise BadRequest(
                    403, f"a request for {scheme.decode('latin1')}: is not forwarded; only http: and tunnels"
                )
            self.target = rest if rest.startswith(b"/") else b"/" + rest
            self.origin = _authority("http", authority)
        if host is None:
            if self.version == b"1":
                raise BadRequest(400, "the request has no Host")
        elif _authority(self.origin.scheme, host) != self.origin:
            raise BadRequest(400, f"the Host {host.decode('latin1')!r} is not that of the URL")

    def _read(self, fields: bytes) -> bytes | None:
        """Read the header fields; the Host."""
        host: bytes | None = None
        length: bytes | None = None
        chunked = False
        destination = b""
        insecure = False
        for line in fields.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b":")
            name = name.lower()
            value = value.strip(b" \t")
            self._fields.append((name, line))
            match name:
                case b"host":
                    if host is not None:
                        raise BadRequest(400, "the request has two Hosts")
                    host = value
                case b"content-length":
                    if (length is not None and length != value) or not _LENGTH.fullmatch(value):
                        raise BadRequest(400, "the Content-Length is not a number, or there are two")
                    length = value
                case b"transfer-encoding":
                    if value.lower() != b"chunked" or chunked:
                        raise BadRequest(400, "the only Transfer-Encoding that is known is chunked")
                    chunked = True
                case b"connection" | b"proxy-connection":
                    tokens = [t.strip() for t in value.lower().split(b",")]
                    self.close = self.close or b"close" in tokens
                    self.upgrade = self.upgrade or b"upgrade" in tokens
                case b"sec-fetch-dest":
                    destination = value
                case b"upgrade-insecure-requests":
                    insecure = True
        if chunked and length is not None:
            raise BadRequest(400, "the request has a Content-Length beside its Transfer-Encoding")
        self.body = CHUNKED if chunked else int(length or 0)
        if destination == b"document" or (insecure and not destination):
            self.purpose = "document"
        return host

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent a second time, when a connection broke before any answer."""
        return self.method in (b"GET", b"HEAD", b"OPTIONS") and self.body == 0 and not self.upgrade

    def direct(self, product: str, tag: str, header: str) -> bytes:
        """The head for the site, as the browser would send it without a proxy; it identifies itself.

        `header` is a header line without its end, or empty."""
        return self._head(self.method + b" " + self.target, product, tag, _line(header))

    def absolute(self, product: str, tag: str, header: str, authorization: bytes) -> bytes:
        """The head for another HTTP proxy; `authorization` is a whole header line, or empty."""
        start = self.method + b" " + str(self.origin).encode() + self.target
        return self._head(start, product, tag, _line(header) + authorization)

    def _head(self, start: bytes, product: str, tag: str, extra: bytes) -> bytes:
        lines = [start + b" HTTP/1." + self.version]
        has_connection = any(name == b"connection" for name, _ in self._fields)
        agent = False
        for name, line in self._fields:
            if name == b"proxy-connection":
                # What a browser tells a proxy in place of Connection.
                if not has_connection:
                    lines.append(line[6:])
            elif name == b"user-agent":
                agent = True
                lines.append(_identified(line, product, tag))
            elif name not in (b"proxy-authorization", b"proxy-authenticate"):
                lines.append(line)
        if not agent and (product or tag):
            lines.append(_identified(b"User-Agent:", product, tag))
        return b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n"


class ResponseHead:
    """`body` is the length, `CHUNKED` or `UNTIL_CLOSE`. `close`: the connection ends with it."""

    __slots__ = ("body", "close", "status")

    def __init__(self, raw: bytes, method: bytes) -> None:
        """`raw` begins with a status line, see `is_response`."""
        match = _RESPONSE_LINE.match(raw)
        assert match is not None
        self.close = match[1] == b"0"
        self.status = int(match[2])
        lengths: set[bytes] = set()
        coding = b""
        for name, value in _RESPONSE_FIELD.findall(raw):
            match name.lower():
                case b"content-length":
                    lengths.update(v.strip() for v in value.split(b","))
                case b"transfer-encoding":
                    coding = value.lower()
                case _:
                    tokens = [t.strip() for t in value.lower().split(b",")]
                    self.close = b"close" in tokens or (self.close and b"keep-alive" not in tokens)
        if method == b"HEAD" or self.status in (204, 304) or self.status < 200:
            self.body = 0
        elif coding:
            self.body = CHUNKED if coding.split(b",")[-1].strip() == b"chunked" else UNTIL_CLOSE
        elif len(lengths) == 1 and _LENGTH.fullmatch(only := lengths.pop()):
            self.body = int(only)
        else:
            self.body = UNTIL_CLOSE


def is_response(data: bytes) -> bool:
    """Whether these bytes, 12 at least, begin a response that can be read here."""
    return _RESPONSE_LINE.match(data) is not None


def _line(header: str) -> bytes:
    return header.encode("latin1", "replace") + b"\r\n" if header else b""


def _identified(line: bytes, product: str, tag: str) -> bytes:
    text = line.decode("latin1")
    if product and product not in text:
        line += b" " + product.encode("latin1", "replace")
    if tag and tag not in text:
        line += b" " + tag.encode("latin1", "replace")
    return line


@lru_cache(1024)
def _parsed(scheme: str, text: bytes) -> Origin | str:
    try:
        return parse_authority(scheme, text.decode("latin1"))
    except ValueError as e:
        return str(e)


def _authority(scheme: str, text: bytes) -> Origin:
    origin = _parsed(scheme, text)
    if isinstance(origin, str):
        raise BadRequest(400, origin)
    return origin
