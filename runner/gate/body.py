"""Where the body of an HTTP/1 message ends, while its bytes pass by."""

from __future__ import annotations

import re

from .heads import CHUNKED, UNTIL_CLOSE

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r]*)?\r?")
#: Of a chunk's first line, and of all trailers.
_MAX_LINE = 16 * 1024


class BadBody(Exception):
    """The chunks cannot be read."""


class Body:
    """`feed` is given the bytes as they come."""

    __slots__ = ("_line", "_rest", "_trailer", "kind")

    def __init__(self, kind: int) -> None:
        """`kind` is a length, `CHUNKED` or `UNTIL_CLOSE`."""
        self.kind = kind
        self._rest = max(0, kind)
        self._line = b""
        self._trailer = False

    def feed(self, data: bytes) -> int:
        """Where in `data` the body ends, or -1 if it does not. Raises `BadBody`."""
        if self.kind >= 0:
            if len(data) < self._rest:
                self._rest -= len(data)
                return -1
            return self._rest
        if self.kind == UNTIL_CLOSE:
            return -1
        assert self.kind == CHUNKED
        return self._feed_chunks(data)

    def _feed_chunks(self, data: bytes) -> int:
        position, end = 0, len(data)
        while True:
            if self._rest:
                step = min(self._rest, end - position)
                self._rest -= step
                position += step
            if position >= end:
                return -1
            newline = data.find(b"\n", position)
            if len(self._line) + (end if newline < 0 else newline) - position > _MAX_LINE:
                raise BadBody("a chunk's line is too long")
            if newline < 0:
                self._line += data[position:]
                return -1
            line = self._line + data[position:newline]
            self._line = b""
            position = newline + 1
            if self._trailer:
                if line in (b"", b"\r"):
                    return position
                continue
            size = _SIZE.fullmatch(line)
            if size is None:
                raise BadBody("a chunk has no size")
            length = int(size[1], 16)
            self._trailer = length == 0
            self._rest = length + 2 if length else 0
