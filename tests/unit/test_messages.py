"""Recorded messages (`tests/golden`) stay readable, and are written as they were recorded.

A golden file may be added to, when its message gets a new field; what stands in it is never changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker_config import codec, messages
from broker_config.errors import MessageError
from broker_config.job import Checkpoint, Job
from broker_config.job_spec import JobSpec

GOLDEN = Path(__file__).parent.parent / "golden"


def _is_struct(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, msgspec.Struct)


KINDS: list[Any] = [
    *(k for name in messages.__all__ if _is_struct(k := getattr(messages, name))),
    Job,
    Checkpoint,
    JobSpec,
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)


def recorded(kind: type) -> bytes:
    return (GOLDEN / f"{kind.__name__}.json").read_bytes()


def test_every_message_has_a_golden_file_and_every_golden_file_a_message() -> None:
    assert {p.stem for p in GOLDEN.glob("*.json")} == {k.__name__ for k in KINDS}


@every_kind
def test_a_golden_file_names_every_field(kind: Any) -> None:
    fields = {f.encode_name for f in msgspec.structs.fields(kind)}
    assert json.loads(recorded(kind)).keys() == fields


@every_kind
def test_a_recorded_message_is_read_and_written_as_recorded(kind: Any) -> None:
    message = codec.decode(recorded(kind), kind)
    # As text: 1, 1.0 and true are equal in Python, not on the wire.
    assert _canonical(codec.encode(message)) == _canonical(recorded(kind))


@every_kind
def test_a_recorded_value_differs_from_the_default(kind: Any) -> None:
    """Else a field that is read wrongly could fall back to its default unseen."""
    message = codec.decode(recorded(kind), kind)
    for field in msgspec.structs.fields(kind):
        if field.encode_name != "protocol":
            assert getattr(message, field.name) != _default(field), field.name


@every_kind
def test_a_message_of_a_newer_version_is_read(kind: Any) -> None:
    message = codec.decode(recorded(kind), kind)
    newer = json.dumps(_with_unknown_fields(message)).encode()
    assert b"from_the_future" in newer
    assert codec.decode(newer, kind) == message


@every_kind
def test_a_message_of_an_older_version_without_the_later_fields_is_read(kind: Any) -> None:
    data = json.loads(recorded(kind))
    required = {f.encode_name for f in msgspec.structs.fields(kind) if f.required}
    message = codec.decode(json.dumps({k: v for k, v in data.items() if k in required}).encode(), kind)
    for field in msgspec.structs.fields(kind):
        if not field.required:
            assert getattr(message, field.name) == _default(field), field.name


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if "protocol" in k.__struct_fields__], ids=lambda k: k.__name__
)
def test_the_protocol_version_always_stands_on_the_wire(kind: Any) -> None:
    message = codec.decode(recorded(kind), kind)
    assert json.loads(codec.encode(message))["protocol"] == messages.PROTOCOL


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"job": "a"}', "missing required field `command`"),
        (b'{"job": "a", "command": "explode"}', "Invalid enum value 'explode' - at `$.command`"),
        (b'{"job": "a", "command": "cancel", "reason": "\xff"}', "not a readable JobControl"),
        (b" " * (codec.MAX_MESSAGE_BYTES + 1), "over the limit"),
        (b"[" * 100_000, "not a readable JobControl"),
    ],
)
def test_a_message_that_cannot_be_read_says_why(data: bytes, words: str) -> None:
    with pytest.raises(MessageError, match="JobControl") as e:
        codec.decode(data, messages.JobControl)
    assert words in str(e.value)


def _canonical(data: bytes) -> str:
    return json.dumps(json.loads(data), sort_keys=True)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else msgspec.NODEFAULT


def _with_unknown_fields(value: Any) -> Any:
    """`value` as plain JSON data, each object and tuple in it with something that nobody knows yet."""
    if isinstance(value, msgspec.Struct):
        fields = {
            f.encode_name: _with_unknown_fields(getattr(value, f.name)) for f in msgspec.structs.fields(value)
        }
        if value.__struct_config__.array_like:
            return [*fields.values(), "from_the_future"]
        if value.__struct_config__.tag_field:
            fields[value.__struct_config__.tag_field] = value.__struct_config__.tag
        return {**fields, "from_the_future": {"what": [1, 2]}}
    if isinstance(value, dict):
        return {str(k): _with_unknown_fields(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_with_unknown_fields(v) for v in value]
    return codec.to_builtins(value)
