"""What should stand in a field, in words: msgspec's messages are for people who write Python."""

from __future__ import annotations

import re

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object with fields",
    "null": "nothing",
}
#: What stands there instead may be of types that nobody asks for.
_GOT = _TYPES | {
    "float": "a number with a fraction",
    "date": "a date",
    "datetime": "a date",
    "time": "a time",
}
_EXPECTED = re.compile(
    r"Expected `(?P<types>[^`]+)`"
    r"(?: of length (?P<length><=|>=|<|>|==) (?P<count>\d+)| matching regex (?P<form>.+)"
    r"| (?P<bound><=|>=|<|>) (?P<limit>\S+?)| that's a multiple of (?P<step>\S+?))?"
    r"(?:, got `(?P<got>[^`]+)`)?",
    re.DOTALL,
)
_LENGTHS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than", "==": "exactly"}
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}


def in_words(text: str) -> str:
    """``Expected `int | null`, got `str` `` as `expected a whole number or nothing, got text`.

    What is not of this shape stays as it is, but for its first letter.
    """
    m = _EXPECTED.fullmatch(text)
    if m is None:
        return text[:1].lower() + text[1:]
    types = m["types"].split(" | ")
    names = [_TYPES.get(t, t) for t in types]
    if m["got"] == "float" and "float" in types:
        names = [n for n in names if n != _TYPES["int"]]
    out = "expected " + (f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0])
    if m["length"]:
        what = "character" if "str" in types else "entry" if "array" in types else "field"
        out += f" of {_LENGTHS[m['length']]} {m['count']} {what if m['count'] == '1' else _plural(what)}"
    elif m["bound"]:
        out += f" {_BOUNDS[m['bound']]} {m['limit'].removesuffix('.0')}"
    elif m["form"]:
        out += f" of the form {m['form'].strip(chr(39))}"
    elif m["step"]:
        out += f" that is a multiple of {m['step']}"
    # Of true and false the value itself says it.
    return out + (f", got {_GOT.get(m['got'], m['got'])}" if m["got"] not in (None, "bool", "null") else "")


def unquoted(value: object, text: str) -> str:
    """A hint where a number or a truth value stands in quotes; empty where that is not what is wrong."""
    m = _EXPECTED.fullmatch(text)
    if m is None or not isinstance(value, str) or m["got"] != "str":
        return ""
    types = m["types"].split(" | ")
    is_number = "int" in types and re.fullmatch(r"-?\d+", value)
    is_number = is_number or ("float" in types and re.fullmatch(r"-?\d+(\.\d+)?", value))
    is_truth = "bool" in types and value in ("true", "false")
    return f"; write {value} without quotes" if is_number or is_truth else ""


def _plural(word: str) -> str:
    return "entries" if word == "entry" else f"{word}s"
