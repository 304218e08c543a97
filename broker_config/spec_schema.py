"""The JSON Schema of a document that users write, with the words about its fields, for editors and readers.

msgspec knows types and bounds. The words are the `#:` comments above the fields, the defaults those that are
made by a function, and a document has no other fields than these.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec

from . import codec
from .duration import Duration
from .duration_range import DurationRange

_COMMENT = re.compile(r"    #: ?(.*)")
_FIELD = re.compile(r"    (\w+): ")


def schema_of(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of documents of this kind. Every Struct in it stands in `$defs`."""
    schema = msgspec.json.schema(kind, schema_hook=codec.schema_hook)
    for struct in _structs(kind, set()):
        _describe(schema["$defs"][struct.__name__], struct)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


@functools.cache
def field_docs(kind: type) -> dict[str, str]:
    """What the `#:` comments say, by field; those of its bases too. Empty where there is no source."""
    out: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        if issubclass(part, msgspec.Struct) and part is not msgspec.Struct:
            out |= _comments(part)
    return out


def _comments(kind: type) -> dict[str, str]:
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return {}
    out: dict[str, str] = {}
    words: list[str] = []
    for line in source.splitlines():
        if comment := _COMMENT.fullmatch(line):
            words.append(comment[1])
            continue
        if words and (field := _FIELD.match(line)):
            out[field[1]] = " ".join(words)
        words = []
    return out


def _describe(schema: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    schema["description"] = inspect.getdoc(kind)
    schema["additionalProperties"] = False
    words = field_docs(kind)
    for field in msgspec.structs.fields(kind):
        about = schema["properties"][field.encode_name]
        if text := words.get(field.name):
            about["description"] = f"{text} {about.get('description', '')}".strip()
        if field.default_factory is not msgspec.NODEFAULT:
            about["default"] = _plain(field.default_factory())
    config = kind.__struct_config__
    if config.tag_field is not None:
        about = schema["properties"][config.tag_field]
        about["description"] = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


def _plain(value: object) -> Any:
    """As a user would write it."""
    if isinstance(value, Duration):
        return str(value) if value else "0s"
    if isinstance(value, DurationRange):
        return str(value)
    if isinstance(value, msgspec.Struct):
        # Its own fields have their defaults.
        config = value.__struct_config__
        return {config.tag_field: config.tag} if config.tag_field else {}
    return codec.to_builtins(value)


def _structs(hint: Any, seen: set[Any]) -> Iterator[type[msgspec.Struct]]:
    """The Structs of which a document can be made, the outermost first."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if hint in seen:
            return
        seen.add(hint)
        yield hint
        for inner in get_type_hints(hint).values():
            yield from _structs(inner, seen)
    for inner in get_args(hint):
        yield from _structs(inner, seen)
