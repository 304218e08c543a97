"""Cursors as clients see them: opaque, and good only for the list that they came from."""

from __future__ import annotations

import base64
import binascii
import zlib

from broker_config.errors import Problem

from .problems import RequestRefused


def seal(scope: str, cursor: str | None) -> str | None:
    """The cursor that is given out for the list named `scope`; None stays None: the last page."""
    if cursor is None:
        return None
    text = cursor.encode()
    return base64.urlsafe_b64encode(_check(scope, text) + text).rstrip(b"=").decode()


def unseal(scope: str, sealed: str | None) -> str | None:
    """The cursor within; 422 if it is not one that `seal` made for this list."""
    if sealed is None:
        return None
    try:
        data = base64.b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4), b"-_", validate=True)
        if data[:4] != _check(scope, data[4:]):
            raise ValueError
        return data[4:].decode()
    except (ValueError, binascii.Error):
        wrong = Problem(
            "cursor", "is not a cursor of this list; take it from `next` of a page, or leave it out"
        )
        raise RequestRefused(422, str(wrong), [wrong]) from None


def _check(scope: str, data: bytes) -> bytes:
    return zlib.crc32(scope.encode() + b"\n" + data).to_bytes(4, "big")
