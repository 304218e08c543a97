"""Reading a user's document into a Struct, strictly, with errors that name field, value and what is allowed.

Messages on the wire ignore unknown fields; documents of users do not: a field that is spelled wrong would
silently do nothing.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from . import codec
from .errors import Problem, SpecError

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


def read(raw: Any, kind: type[T], source: str = "") -> T:
    """Convert `raw` (plain dicts, lists and scalars) to `kind`; `SpecError` names what is wrong and where."""
    if not isinstance(raw, dict):
        raise SpecError([Problem("", f"the document is not an object with fields but {_show(raw)}")], source)
    problems = list(_unknown_fields(raw, kind, ""))
    try:
        value = msgspec.convert(raw, kind, dec_hook=codec.dec_hook)
    except msgspec.ValidationError as e:
        problems.append(_problem(str(e), raw))
    except RecursionError:
        problems.append(Problem("", "the document is nested too deeply"))
    if problems:
        raise SpecError(problems, source)
    return value


def _problem(text: str, raw: Any) -> Problem:
    m = _AT.search(text)
    if not m:
        return Problem("", text)
    path, what = m["path"], text[: m.start()]
    value = _look_up(raw, path)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if missing:
        return Problem(f"{path}.{missing[1]}".lstrip("."), "is missing")
    what = what[0].lower() + what[1:]
    return Problem(path, what if _show(value) in what else f"{_show(value)} is not allowed: {what}")


def _look_up(raw: Any, path: str) -> Any:
    for index, name in _STEP.findall(path):
        try:
            raw = raw[int(index)] if index else raw[name]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown_fields(raw: Any, hint: Any, where: str) -> Iterator[Problem]:
    """Fields that no Struct at their place has. Unions are resolved by tag, else by shape."""
    origin = get_origin(hint)
    if origin in (list, tuple) and isinstance(raw, list):
        for i, item in enumerate(raw):
            yield from _unknown_fields(item, get_args(hint)[0], f"{where}[{i}]")
    elif origin is dict and isinstance(raw, dict):
        for key, item in raw.items():
            yield from _unknown_fields(item, get_args(hint)[1], f"{where}.{key}".lstrip("."))
    elif origin in (Union, types.UnionType):
        options = [h for h in get_args(hint) if h is not type(None)]
        structs = [h for h in options if isinstance(h, type) and issubclass(h, msgspec.Struct)]
        if isinstance(raw, dict) and structs:
            tagged = [s for s in structs if _tag_fits(s, raw)]
            if len(tagged) == 1:
                yield from _unknown_fields(raw, tagged[0], where)
        else:
            fits = list if isinstance(raw, list) else dict
            for option in options:
                if get_origin(option) is fits and isinstance(raw, fits):
                    yield from _unknown_fields(raw, option, where)
    elif origin is not None and hasattr(hint, "__metadata__"):
        yield from _unknown_fields(raw, get_args(hint)[0], where)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct) and isinstance(raw, dict):
        fields = {f.encode_name: f.name for f in msgspec.structs.fields(hint)}
        hints = get_type_hints(hint, include_extras=True)
        tag_field = hint.__struct_config__.tag_field
        for key, item in raw.items():
            at = f"{where}.{key}".lstrip(".")
            if key in fields:
                yield from _unknown_fields(item, hints[fields[key]], at)
            elif key != tag_field:
                near = difflib.get_close_matches(str(key), fields, 1)
                hint_text = f"; did you mean {near[0]}?" if near else ""
                allowed = ", ".join([*([tag_field] if tag_field else []), *fields])
                yield Problem(at, f"there is no such field{hint_text} Allowed: {allowed}")


def _tag_fits(kind: type[msgspec.Struct], raw: dict[str, Any]) -> bool:
    config = kind.__struct_config__
    return config.tag_field is None or raw.get(config.tag_field) == config.tag
