"""Reading a user's document into a Struct, strictly, with errors that name field, value and what is allowed.

Messages on the wire ignore unknown fields; documents of users do not: a field that is spelled wrong would
silently do nothing.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from . import codec
from .errors import Problem, SpecError
from .expectation import in_words, unquoted

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r" - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")
#: Fields in which credentials may stand: their values are not repeated.
_UNSAID = re.compile(r"(^|\.)(egress|proxies)($|[.\[])")


def read(raw: Any, kind: type[T], source: str = "") -> T:
    """Convert `raw` (plain dicts, lists and scalars) to `kind`; `SpecError` names what is wrong and where."""
    if not isinstance(raw, dict):
        raise SpecError([Problem("", f"the document is not an object with fields but {_show(raw)}")], source)
    with suppress(RecursionError):  # what is so deep is refused below
        if torn := list(_torn_text(raw, "")):
            raise SpecError(torn, source)
    problems: list[Problem] = []
    try:
        problems += _unknown_fields(raw, kind, "")
        value = msgspec.convert(raw, kind, dec_hook=codec.dec_hook)
    except msgspec.ValidationError as e:
        problems.append(_problem(str(e), raw, kind))
    except RecursionError:
        problems.append(Problem("", "the document is nested too deeply"))
    if problems:
        raise SpecError(problems, source)
    return value


def _torn_text(raw: Any, where: str) -> Iterator[Problem]:
    """Halves of surrogate pairs, which YAML and JSON can spell and nobody can store."""
    if isinstance(raw, str) and not raw.isascii() and any("\ud800" <= c <= "\udfff" for c in raw):
        yield Problem(where, f"{raw!a:.80} holds half of a surrogate pair, which is no character")
    elif isinstance(raw, dict):
        for key, item in raw.items():
            yield from _torn_text(key, where)
            yield from _torn_text(item, _join(where, str(key)))
    elif isinstance(raw, list):
        for i, item in enumerate(raw):
            yield from _torn_text(item, f"{where}[{i}]")


def _problem(text: str, raw: Any, hint: Any, where: str = "") -> Problem:
    """msgspec's message about `raw`, which stands at `where` and should be a `hint`, in words for a user."""
    m = _AT.search(text)
    path, what = (m["path"], text[: m.start()]) if m else ("", text)
    before, inside_dict, _ = path.partition("[...]")
    value, hints = _follow(raw, hint, before)
    if m and m["key"]:
        return Problem(_join(where, path), f"the name of a field in it is not allowed: {in_words(what)}")
    if inside_dict and isinstance(value, dict):
        # msgspec does not say under which key.
        for key, item in value.items():
            for option in (get_args(h)[1] for h in hints if get_origin(h) is dict):
                try:
                    msgspec.convert(item, option, dec_hook=codec.dec_hook)
                except msgspec.ValidationError as e:
                    return _problem(str(e), item, option, _join(_join(where, before), str(key)))
    at = _join(where, path)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if missing:
        return Problem(_join(at, missing[1]), f"is missing{_allowed(raw, hint, _join(path, missing[1]))}")
    is_secret = _UNSAID.search(at) and isinstance(value, str | list | dict)
    shown = "the value" if is_secret else _show(value)
    if what.startswith(("Invalid value", "Invalid enum value")):
        return Problem(at, f"{shown} is not allowed{_allowed(raw, hint, path)}")
    if what.startswith(named := f"{_repr(value)} "):  # our own types name the value themselves
        return Problem(at, f"{shown} {what.removeprefix(named)}")
    hint = "" if is_secret else unquoted(value, what)
    return Problem(at, f"{shown} is not allowed: {in_words(what)}{hint}")


def _allowed(raw: Any, hint: Any, path: str) -> str:
    """The values that can stand at `path`, where they are a fixed few: of a Literal, or tags."""
    parent, _, name = path.rpartition(".")
    values = [v for h in _follow(raw, hint, path)[1] if get_origin(h) is Literal for v in get_args(h)]
    configs = [h.__struct_config__ for h in _follow(raw, hint, parent)[1] if _is_struct(h)]
    values += [c.tag for c in configs if c.tag_field == name]
    return f"; allowed: {', '.join(map(str, values))}" if values else ""


def _follow(raw: Any, hint: Any, path: str) -> tuple[Any, list[Any]]:
    """What stands at `path` below `raw`, and the types that it may have."""
    hints = _options(hint)
    for index, name in _STEP.findall(path):
        inner: list[Any] = []
        for h in hints:
            if index and get_origin(h) in (list, tuple):
                inner += _options(get_args(h)[0])
            elif name and get_origin(h) is dict:
                inner += _options(get_args(h)[1])
            elif name and _is_struct(h) and (not isinstance(raw, dict) or _tag_fits(h, raw)):
                inner += _options(_fields(h).get(name))
        hints = inner
        try:
            raw = raw[int(index)] if index else raw[name]
        except (KeyError, IndexError, TypeError):
            raw = None
    return raw, hints


def _options(hint: Any) -> list[Any]:
    """The types of which `hint` is the union, without the constraints around them."""
    if hint is None or hint is types.NoneType:
        return []
    if hasattr(hint, "__metadata__"):
        return _options(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [option for h in get_args(hint) for option in _options(h)]
    return [hint]


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Types of the fields, by their name in documents."""
    hints = get_type_hints(struct, include_extras=True)
    return {f.encode_name: hints[f.name] for f in msgspec.structs.fields(struct)}


def _join(where: str, path: str) -> str:
    return f"{where}{path}" if path.startswith("[") else f"{where}.{path}".strip(".")


def _show(value: Any) -> str:
    """As documents have it."""
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    text = _repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "something nested too deeply"
    except ValueError:
        return "a number of too many digits"


def _unknown_fields(raw: Any, hint: Any, where: str) -> Iterator[Problem]:
    """Fields that no Struct at their place has. Unions are resolved by tag, else by shape."""
    options = _options(hint)
    if isinstance(raw, list):
        for option in options:
            if get_origin(option) in (list, tuple):
                for i, item in enumerate(raw):
                    yield from _unknown_fields(item, get_args(option)[0], f"{where}[{i}]")
    elif isinstance(raw, dict):
        structs = [option for option in options if _is_struct(option) and _tag_fits(option, raw)]
        if len(structs) == 1:
            others = [option for option in options if _is_struct(option) and option is not structs[0]]
            yield from _unknown_in_struct(raw, structs[0], where, others)
        elif not structs:
            for option in options:
                if get_origin(option) is dict:
                    for key, item in raw.items():
                        yield from _unknown_fields(item, get_args(option)[1], _join(where, str(key)))


def _unknown_in_struct(
    raw: dict[Any, Any], struct: type[msgspec.Struct], where: str, others: Sequence[type[msgspec.Struct]]
) -> Iterator[Problem]:
    """`others` are those that could stand there in its place, by another tag."""
    fields = _fields(struct)
    tag_field, tag = struct.__struct_config__.tag_field, struct.__struct_config__.tag
    for key, item in raw.items():
        at = _join(where, str(key))
        if key in fields:
            yield from _unknown_fields(item, fields[key], at)
        elif homes := [str(o.__struct_config__.tag) for o in others if tag_field and key in _fields(o)]:
            home = " and ".join([", ".join(homes[:-1]), homes[-1]] if homes[1:] else homes)
            yield Problem(at, f"belongs to {home}, not to {tag}; change {tag_field}, or leave this out")
        elif key != tag_field:
            near = difflib.get_close_matches(str(key), fields, 1)
            allowed = ", ".join([*([tag_field] if tag_field else []), *fields])
            yield Problem(
                at,
                f"there is no such field, did you mean {near[0]}? Allowed: {allowed}"
                if near
                else f"there is no such field; allowed: {allowed}",
            )


def _tag_fits(kind: type[msgspec.Struct], raw: dict[str, Any]) -> bool:
    config = kind.__struct_config__
    # msgspec lets a tag be left out where there is but one type.
    return config.tag_field is None or raw.get(config.tag_field, config.tag) == config.tag
