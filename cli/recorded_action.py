"""Playwright's actions and expectations in recorded code, as the steps of a journey."""

from __future__ import annotations

import ast
import re
from typing import Any, Protocol

from .recorded_locator import Cannot, Names, locator, text_of

#: Arguments that say nothing that a journey would not do anyway.
_IDLE = frozenset({"no_wait_after", "wait_until", "path", "full_page"})


class Reader(Names, Protocol):
    def note(self, node: ast.AST, why: str) -> None:
        """The step stands, but not in every respect."""
        ...


class Arguments:
    """Of one call. `step` refuses what nobody has asked for."""

    def __init__(self, call: ast.Call, reading: Reader) -> None:
        self._call = call
        self.reading = reading
        self._first = 0
        self._seen: set[int | str] = set()
        self._all: dict[int | str, ast.expr] = dict(enumerate(call.args))
        for keyword in call.keywords:
            if keyword.arg is None:
                raise Cannot("its arguments are not written out")
            self._all[keyword.arg] = keyword.value

    def skip(self) -> None:
        """The first was the selector: positions count from the next."""
        self._first = 1
        self._seen |= {0, "selector"}

    def get(self, position: int, name: str) -> ast.expr | None:
        for key in (position + self._first, name):
            if key in self._all:
                self._seen.add(key)
                return self._all[key]
        return None

    def text(self, position: int, name: str, default: str | None = None) -> str:
        found = self.get(position, name)
        if found is None and default is not None:
            return default
        return text_of(found, self.reading)

    def whole(self, position: int, name: str) -> int:
        match self.get(position, name):
            case ast.Constant(value=int() | float() as value):
                return round(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -round(value)
        raise Cannot(f"{name} is not a plain number")

    def truth(self, position: int, name: str) -> bool:
        match self.get(position, name):
            case ast.Constant(value=bool() as value):
                return value
        raise Cannot(f"{name} is neither True nor False")

    def step(self, step: dict[str, Any]) -> dict[str, Any]:
        """The finished step, with its time-out."""
        if "timeout" in self._all and "timeout" not in self._seen:
            step["timeout"] = f"{self.whole(-99, 'timeout')}ms"
        for key in self._all.keys() - self._seen:
            if key in _IDLE:
                continue
            said = f"argument {key + 1}" if isinstance(key, int) else key
            self.reading.note(self._call, f"{said} is left out")
        return step


def on_place(method: str, where: dict[str, Any], arguments: Arguments) -> dict[str, Any]:
    match method:
        case "click" | "hover":
            return arguments.step({method: where})
        case "fill":
            return arguments.step({"fill": {**where, "value": arguments.text(0, "value")}})
        case "clear":
            return arguments.step({"fill": {**where, "value": ""}})
        case "press":
            return arguments.step({"press": {**where, "key": arguments.text(0, "key")}})
        case "check":
            return arguments.step({"check": where})
        case "uncheck":
            return arguments.step({"check": {**where, "checked": False}})
        case "set_checked":
            on = arguments.truth(0, "checked")
            return arguments.step({"check": where if on else {**where, "checked": False}})
        case "select_option":
            return arguments.step({"select": {**where, "option": _options(arguments)}})
        case "scroll_into_view_if_needed":
            return arguments.step({"scroll": where})
        case "wait_for":
            state = arguments.text(99, "state", default="visible")
            return arguments.step({"wait_for": where if state == "visible" else {**where, "state": state}})
    raise Cannot(f"a journey has no {method}")


def _options(arguments: Arguments) -> str | list[str]:
    for position, name in ((0, "value"), (99, "label")):
        found = arguments.get(position, name)
        if isinstance(found, ast.List | ast.Tuple):
            return [text_of(e, arguments.reading) for e in found.elts]
        if found is not None:
            return text_of(found, arguments.reading)
    raise Cannot("options by index or element are not in a journey; use the value, or what the user reads")


def expectation(reading: Reader, subject: ast.Call, method: str, call: ast.Call) -> dict[str, Any]:
    arguments = Arguments(call, reading)
    if not subject.args:
        raise Cannot("it expects nothing")
    about = subject.args[0]
    if reading.is_page(about):
        match method:
            case "to_have_url":
                url = re.sub(r"([*\[\]{}\\])", r"\\\1", arguments.text(0, "url_or_reg_exp"))
                return arguments.step({"expect": {"url": url}})
            case "to_have_title":
                reading.note(call, "the whole title is not compared: it must contain this")
                return arguments.step({"expect": {"title": arguments.text(0, "title_or_reg_exp")}})
        raise Cannot(f"a journey cannot expect {method}")
    where = locator(about, reading)
    match method:
        case "to_be_visible":
            return arguments.step({"expect": where})
        case "to_be_hidden" | "not_to_be_visible":
            return arguments.step({"expect": {**where, "state": "hidden"}})
        case "to_have_text" | "to_contain_text":
            text = arguments.text(0, "expected")
            if "text" in where and where["text"] != text:
                raise Cannot("a locator by text can have no second text")
            if where.keys() == {"text"}:
                return arguments.step({"expect": where})
            if method == "to_have_text":
                reading.note(call, "the whole text is not compared: it must contain this")
            return arguments.step({"expect": {**where, "text": text}})
        case "to_have_value":
            return arguments.step({"expect": {**where, "value": arguments.text(0, "value")}})
        case "to_have_count":
            return arguments.step({"expect": {**where, "count": arguments.whole(0, "count")}})
    raise Cannot(f"a journey cannot expect {method}")
