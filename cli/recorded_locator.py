"""Playwright's locators in recorded code, as the places of a journey."""

from __future__ import annotations

import ast
import re
from typing import Any, Protocol


class Cannot(Exception):
    """A piece of code has no counterpart in a journey; the text says why."""


class Names(Protocol):
    """What the reader of the code knows of its names."""

    def is_page(self, node: ast.expr) -> bool: ...
    def named(self, name: str) -> ast.expr | None: ...


#: Locators by an attribute, which a journey has by CSS.
_ATTRIBUTES = {"get_by_placeholder": "placeholder", "get_by_alt_text": "alt", "get_by_title": "title"}


def locator(node: ast.expr, names: Names) -> dict[str, Any]:
    """The place that an expression such as `page.get_by_label("Email").first` stands for. Raises `Cannot`."""
    match node:
        case ast.Name(id=name):
            value = names.named(name)
            if value is None:
                raise Cannot(f"{name} is another window, or not known here")
            return locator(value, names)
        case ast.Attribute(attr="first", value=of):
            return _nth(locator(of, names), 0)
        case ast.Attribute(attr="last", value=of):
            return _nth(locator(of, names), -1)
        case ast.Attribute(attr="content_frame" | "frame_locator" | "frames" | "main_frame"):
            raise Cannot("it is inside a frame; journeys act on the page itself")
        case ast.Call(func=ast.Attribute(attr=method, value=of), args=args, keywords=keywords):
            return _called(method, of, args, {k.arg: k.value for k in keywords}, names)
    raise Cannot("this is no locator that a journey knows")


def of_selector(selector: str) -> dict[str, Any]:
    """The place of a selector as `page.locator` takes it. Raises `Cannot`."""
    text = selector.strip()
    if ">>" in text or text.startswith("internal:"):
        raise Cannot("chained selectors are not in a journey; use role, label, text, test_id or css")
    if text.startswith(("//", "..", "(//", "xpath=")):
        raise Cannot("XPath is not in a journey; use role, label, text, test_id or css")
    engine = re.match(r"([a-z_:-]+)=(.*)", text, re.DOTALL)
    if engine is None:
        if text[:1] in "\"'":
            return {"text": text.strip("\"'"), "exact": True}
        return {"css": text}
    name, rest = engine[1], engine[2].strip()
    match name:
        case "css":
            return {"css": rest}
        case "text":
            quoted = len(rest) > 1 and rest[0] == rest[-1] and rest[0] in "\"'"
            if rest.startswith("/"):
                raise Cannot("patterns are not in a journey; give a text that is contained")
            return {"text": rest[1:-1], "exact": True} if quoted else {"text": rest}
        case "data-testid":
            return {"test_id": rest.strip("\"'")}
        case "id":
            return {"css": f'[id="{_quoted(rest)}"]'}
    raise Cannot(f"selectors by {name} are not in a journey; use role, label, text, test_id or css")


def text_of(node: ast.expr | None, names: Names) -> str:
    """A text that is written out, or has a name. Raises `Cannot`."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name) if (value := names.named(name)) is not None:
            return text_of(value, names)
        case ast.Call(func=ast.Attribute(attr="compile")):
            raise Cannot("patterns are not in a journey; give a text, or for addresses one with *")
        case None:
            raise Cannot("an argument is missing")
    raise Cannot("a text is not written out; put it in place, or use data and ${…}")


def _called(
    method: str,
    of: ast.expr,
    args: list[ast.expr],
    keywords: dict[str | None, ast.expr],
    names: Names,
) -> dict[str, Any]:
    if method == "nth":
        return _nth(locator(of, names), _whole(args))
    if method == "frame_locator":
        raise Cannot("it is inside a frame; journeys act on the page itself")
    if method == "filter":
        return _filtered(locator(of, names), keywords, names)
    place = _simple(method, args, keywords, names)
    if names.is_page(of):
        return place
    return _within(locator(of, names), place)


def _simple(
    method: str, args: list[ast.expr], keywords: dict[str | None, ast.expr], names: Names
) -> dict[str, Any]:
    """A locator that is asked of the page."""
    known = {"name", "exact"} if method == "get_by_role" else {"exact"}
    if method == "locator":
        known = {"has_text"}
    unknown = {k for k in keywords if k not in known and k not in ("text", "selector", "role", "test_id")}
    if unknown:
        raise Cannot(f"{', '.join(sorted(map(str, unknown)))} of {method} is not in a journey")
    given = {k: keywords[k] for k in ("text", "selector", "role", "test_id") if k in keywords}
    text = text_of(args[0] if args else next(iter(given.values()), None), names)
    exact = _is_true(keywords.get("exact"))
    place: dict[str, Any]
    match method:
        case "get_by_role":
            place = {"role": text}
            if "name" in keywords:
                place["name"] = text_of(keywords["name"], names)
        case "get_by_label":
            place = {"label": text}
        case "get_by_text":
            place = {"text": text}
        case "get_by_test_id":
            return {"test_id": text}
        case "locator":
            place = of_selector(text)
            return _filtered(place, keywords, names) if "has_text" in keywords else place
        case _ if method in _ATTRIBUTES:
            # As Playwright means it: a part of it, in any case.
            sign, end = ("=", "") if exact else ("*=", " i")
            return {"css": f'[{_ATTRIBUTES[method]}{sign}"{_quoted(text)}"{end}]'}
        case _:
            raise Cannot(f"{method} is no locator that a journey knows")
    return {**place, "exact": True} if exact else place


def _within(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """`inner` inside of `outer`: a journey has that for CSS alone."""
    first, second = _as_css(outer), _as_css(inner)
    if first is None or second is None:
        raise Cannot("a place inside of another is in a journey only where both are css or test_id")
    return {"css": f"{first} {second}"}


def _as_css(place: dict[str, Any]) -> str | None:
    match place:
        case {"css": str(css), **rest} if not rest:
            return f":is({css})" if "," in css else css
        case {"test_id": str(id), **rest} if not rest:
            return f'[data-testid="{_quoted(id)}"]'
    return None


def _filtered(place: dict[str, Any], keywords: dict[str | None, ast.expr], names: Names) -> dict[str, Any]:
    if keywords.keys() != {"has_text"}:
        raise Cannot("only filter(has_text=…) is in a journey")
    if "text" in place or "nth" in place:
        raise Cannot("a journey filters once, by text, and before it counts")
    return {**place, "text": text_of(keywords["has_text"], names)}


def _nth(place: dict[str, Any], n: int) -> dict[str, Any]:
    if "nth" in place:
        raise Cannot("a journey counts once")
    return {**place, "nth": n}


def _whole(args: list[ast.expr]) -> int:
    match args:
        case [ast.Constant(value=int() as n)]:
            return n
        case [ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as n))]:
            return -n
    raise Cannot("its number is not written out")


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\a ")
