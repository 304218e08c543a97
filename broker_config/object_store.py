"""An object store's layout in its stream, as every NATS client has it: chunks, and one message about each.

$O.<bucket>.C.<nuid>             the chunks of one object, in order
$O.<bucket>.M.<name in base64>   what the object is
"""

from __future__ import annotations

import base64
import binascii

import msgspec

#: Bytes of one message.
CHUNK = 128 << 10
_DIGEST = "SHA-256="


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands in the message about an object. `mtime` is RFC 3339, `digest` made by `digest`."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    mtime: str
    digest: str = ""
    #: Words of our own: `kind`, and `expires` in seconds since 1970.
    metadata: dict[str, str] = {}
    options: dict[str, int] = {}
    deleted: bool = False


def stream_name(bucket: str) -> str:
    return f"OBJ_{bucket}"


def chunk_subject(bucket: str, nuid: str) -> str:
    return f"$O.{bucket}.C.{nuid}"


def meta_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def meta_subjects(bucket: str) -> str:
    return f"$O.{bucket}.M.>"


def name_of(subject: str) -> str | None:
    """The object's name in the subject of a message about it; None where it is none."""
    token = subject.rpartition(".")[2]
    try:
        return base64.urlsafe_b64decode(token).decode() or None
    except (binascii.Error, ValueError):
        return None


def digest(sha256: bytes) -> str:
    return _DIGEST + base64.urlsafe_b64encode(sha256).decode()
