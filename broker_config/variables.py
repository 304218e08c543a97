"""`${name}` in the texts of a journey. `$${` is a plain `${`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_VARIABLE = re.compile(r"\$(\$\{)|\$\{\s*([^{}]*?)\s*\}")


def names(text: str) -> list[str]:
    """The variables in a text, in order."""
    return [m[2] for m in _VARIABLE.finditer(text) if m[2] is not None]


def filled(text: str, values: Mapping[str, object]) -> str:
    """`text` with the values in place; `KeyError` names a variable that has none. None is empty."""

    def value(m: re.Match[str]) -> str:
        if m[1]:
            return m[1]
        found = values[m[2]]
        if isinstance(found, bool):
            return "true" if found else "false"
        return "" if found is None else str(found)

    return _VARIABLE.sub(value, text)


def texts(document: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a document with their places."""
    if isinstance(document, str):
        yield where, document
    elif isinstance(document, dict):
        for key, item in document.items():
            yield from texts(item, f"{where}.{key}" if where else str(key))
    elif isinstance(document, list):
        for i, item in enumerate(document):
            yield from texts(item, f"{where}[{i}]")
