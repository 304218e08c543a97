"""JSON encoding and decoding of every message, document and spec: one place, so that all agree.

Decoding ignores unknown fields: a message of a newer version stays readable.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .duration import Duration
from .duration_range import DurationRange
from .errors import MessageError

T = TypeVar("T")

#: Largest message that is read, bytes. The broker's own limit is 1 MiB.
MAX_MESSAGE_BYTES = 1 << 20


def _enc_hook(value: object) -> Any:
    if isinstance(value, Duration):
        return float(value)
    if isinstance(value, DurationRange):
        return {"min": float(value.min), "max": float(value.max)}
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def dec_hook(kind: type, value: object) -> Any:
    """msgspec's hook for our own types; also used for reading documents of users."""
    if kind is Duration:
        return Duration.parse(value)
    if kind is DurationRange:
        return DurationRange.parse(value)
    raise NotImplementedError(f"{kind.__name__} cannot be read from JSON")


def schema_hook(kind: type) -> dict[str, Any]:
    """JSON Schema of our own types."""
    one = r"(\d+(\.\d+)?(ms|s|m|h|d))+"
    if kind is Duration:
        return {
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{one}$"}],
            "description": "A duration: 500ms, 2s, 1m30s, 2h, or a number of seconds.",
        }
    if kind is DurationRange:
        duration = schema_hook(Duration)["anyOf"]
        return {
            "anyOf": [
                *duration,
                {"type": "string", "pattern": f"^{one}-{one}$"},
                {
                    "type": "object",
                    "properties": {"min": {"anyOf": duration}, "max": {"anyOf": duration}},
                    "additionalProperties": False,
                },
            ],
            "description": "A duration, or a range such as 1s-3s, or an object with min and max.",
        }
    raise NotImplementedError(f"{kind.__name__} has no JSON Schema")


_encoder = msgspec.json.Encoder(enc_hook=_enc_hook)
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def encode(value: object) -> bytes:
    """`value` as compact JSON."""
    return _encoder.encode(value)


def to_builtins(value: object) -> Any:
    """`value` as plain dicts, lists, numbers and text."""
    return msgspec.to_builtins(value, enc_hook=_enc_hook)


def decode(data: bytes, kind: type[T], limit: int = MAX_MESSAGE_BYTES) -> T:
    """Read a message of type `kind` and at most `limit` bytes. Raises `MessageError` that says where it is
    wrong."""
    if len(data) > limit:
        raise MessageError(f"a {kind.__name__} of {len(data)} bytes is over the limit of {limit}")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=dec_hook)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as e:
        raise MessageError(f"not a readable {kind.__name__}: {e}") from None
