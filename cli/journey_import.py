"""Recorded Playwright code (Python, sync or async) as a declarative journey. It is read, never run.

What has no counterpart is left out and named, so that nobody believes in a step that is not there.
"""

from __future__ import annotations

import ast
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from broker_config.errors import Problem, SpecError
from broker_config.origin import Origin

from .recorded_action import Arguments, expectation, on_place
from .recorded_locator import Cannot, locator, of_selector

#: Calls that have no effect on what a session does, or that a session does by itself.
_IDLE = frozenset({"close", "launch", "new_context", "new_page", "wait_for_load_state", "bring_to_front"})
_IDLE |= {"set_default_timeout", "set_default_navigation_timeout"}
#: `with page.expect_…():` blocks of which the journey needs nothing but what stands in them.
_WAITED = frozenset({"expect_navigation", "expect_event"})


class LeftOut(NamedTuple):
    """A piece of code that is not in the journey as it stands; `why` in words."""

    line: int
    code: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}: {self.why}"


class Imported(NamedTuple):
    """`url` is the first address that is opened, None where there is none; `origins` are the further ones."""

    url: str | None
    steps: list[dict[str, Any]]
    origins: list[str]
    left_out: list[LeftOut]


def translate(source: str, name: str = "") -> Imported:
    """Translate recorded code. Raises `SpecError` where it is no Python; `name` is that of its file."""
    try:
        tree = ast.parse(source)
    except SyntaxError as e:
        raise SpecError([Problem(f"line {e.lineno}" if e.lineno else "", e.msg)], name) from None
    except (ValueError, RecursionError, MemoryError) as e:
        raise SpecError([Problem("", f"it is no Python that can be read: {e}")], name) from None
    reading = _Reading(source)
    reading.body(tree.body)
    return Imported(reading.url, reading.steps, sorted(reading.origins), reading.left_out)


def as_job(found: Imported, name: str, url: str | None = None) -> dict[str, Any]:
    """The document of a job of one session. `url` goes before the one that was recorded.

    Raises `SpecError` where there is nothing to do, or no page to do it on.
    """
    target = url or found.url
    if target is None:
        raise SpecError([Problem("", "it opens no page; say which by --url")], name)
    if not found.steps and found.url is None:
        raise SpecError([Problem("", "there is nothing in it that a journey could do")], name)
    job: dict[str, Any] = {
        "name": PurePath(name).stem[:64] or "recorded",
        "targets": [{"url": target}],
        "sessions": 1,
    }
    if found.origins:
        job["origins"] = found.origins
    if found.steps:
        job["journey"] = {"steps": found.steps}
    return job


class _Reading:
    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self._names: dict[str, ast.expr] = {}
        self._page: str | None = None
        self.url: str | None = None
        self.origins: set[str] = set()
        self.steps: list[dict[str, Any]] = []
        self.left_out: list[LeftOut] = []

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            try:
                self._statement(statement)
            except Cannot as e:
                self._leave(statement, str(e))
            except RecursionError:
                self._leave(statement, "it is nested too deeply, or stands for itself")

    # --- statements --------------------------------------------------------------------------------------

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._page = next((a.arg for a in node.args.args if a.arg.startswith("page")), None)
                self.body(node.body)
            case ast.With() | ast.AsyncWith():
                self._block(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._assignment(name, _call_of(value))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._assignment(name, _call_of(value))
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=value):
                self._expression(_call_of(value))
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Return(value=None):
                pass
            case ast.If() if "__name__" in ast.unparse(node.test):
                pass
            case _:
                raise Cannot("a journey has no such statements")

    def _block(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            match _call_of(item.context_expr):
                case ast.Call(func=ast.Name(id="sync_playwright" | "async_playwright")):
                    pass
                case ast.Call(func=ast.Attribute(attr=name)) if name in _WAITED:
                    pass
                case ast.Call(func=ast.Attribute(attr="expect_popup")):
                    self._leave(node, "another window opens; a journey stays in its first")
                case ast.Call(func=ast.Attribute(attr="expect_download")):
                    self._leave(node, "downloads are refused in sessions")
                case _:
                    self._leave(node, "a journey cannot wait for this; what it holds is translated")
        self.body(node.body)

    def _assignment(self, name: str, value: ast.expr) -> None:
        match value:
            case ast.Call(func=ast.Attribute(attr="new_page")):
                if self._page is not None:
                    raise Cannot("another window; a journey has one")
                self._page = name
            case ast.Call(func=ast.Attribute(attr="new_context"), args=args, keywords=keywords):
                if args or keywords:
                    raise Cannot("the context's options are not taken over; see devices in docs/journeys.md")
            case ast.Call(func=ast.Attribute(attr="launch")):
                pass
            case ast.Attribute(attr="value"):
                raise Cannot("another window, or a download; a journey has its first window only")
            case _:
                self._names[name] = value

    def _expression(self, value: ast.expr) -> None:
        match value:
            case ast.Call(func=ast.Name(id=name)) if name not in ("expect", *self._names):
                return  # run(playwright), main()
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"))):
                return
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="expect"))) as func):
                assert isinstance(func.value, ast.Call)
                self._take(expectation(self, func.value, func.attr, value))
            case ast.Call(func=ast.Attribute(attr=method, value=receiver)):
                if method in _IDLE or _is_dismissal(value):
                    return
                self._take(self._act(method, receiver, value))
            case _:
                raise Cannot("a journey has no such statements")

    def _act(self, method: str, receiver: ast.expr, call: ast.Call) -> dict[str, Any] | None:
        arguments = Arguments(call, self)
        if self.is_page(receiver):
            return self._on_page(method, arguments)
        match receiver:
            case ast.Attribute(attr="keyboard", value=owner) if self.is_page(owner) and method == "press":
                return arguments.step({"press": arguments.text(0, "key")})
            case ast.Attribute(attr="mouse", value=owner) if self.is_page(owner) and method == "wheel":
                if arguments.whole(0, "delta_x"):
                    raise Cannot("a journey scrolls up and down only")
                return arguments.step({"scroll": arguments.whole(1, "delta_y")})
            case ast.Attribute(attr="keyboard" | "mouse"):
                raise Cannot("keys and mouse by themselves are not in a journey, but press and click")
        return on_place(method, locator(receiver, self), arguments)

    def _on_page(self, method: str, arguments: Arguments) -> dict[str, Any] | None:
        match method:
            case "goto":
                return self._goto(arguments)
            case "wait_for_url":
                return arguments.step({"wait_for": {"url": arguments.text(0, "url")}})
            case "wait_for_timeout":
                return arguments.step({"pause": f"{arguments.whole(0, 'timeout')}ms"})
            case "screenshot":
                path = arguments.text(0, "path", default="screenshot")
                return arguments.step({"screenshot": PurePath(path).stem[:64]})
            case "wait_for_selector":
                return on_place("wait_for", of_selector(arguments.text(0, "selector")), arguments)
            case "click" | "fill" | "press" | "check" | "uncheck" | "set_checked" | "select_option" | "hover":
                where = of_selector(arguments.text(0, "selector"))
                arguments.skip()
                return on_place(method, where, arguments)
        raise Cannot(f"a journey has no {method}")

    def _goto(self, arguments: Arguments) -> dict[str, Any] | None:
        url = arguments.text(0, "url")
        step = arguments.step({"goto": url})
        if url == "about:blank":
            return None
        if "://" in url and self.url is None and not self.steps:
            try:
                Origin.of(url)
            except ValueError as e:
                raise Cannot(str(e)) from None
            self.url = url
            return None if step.keys() == {"goto"} else step
        if self.url is not None and "://" in url:
            try:
                origin = Origin.of(url)
            except ValueError as e:
                raise Cannot(str(e)) from None
            parts = urlsplit(url)
            if origin == Origin.of(self.url) and not parts.path.startswith("//"):
                step["goto"] = parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()
            else:
                self.origins.add(str(origin))
        return step

    # --- what the others ask -----------------------------------------------------------------------------

    def is_page(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._page

    def named(self, name: str) -> ast.expr | None:
        """What was assigned to the name."""
        return self._names.get(name)

    def note(self, node: ast.AST, why: str) -> None:
        """The step stands, but not in every respect."""
        self._leave(node, why)

    def _take(self, step: dict[str, Any] | None) -> None:
        if step is not None:
            self.steps.append(_escaped(step))

    def _leave(self, node: ast.AST, why: str) -> None:
        line = getattr(node, "lineno", 0)
        code = self._lines[line - 1].strip() if 0 < line <= len(self._lines) else ""
        self.left_out.append(LeftOut(line, code if len(code) <= 80 else code[:79] + "…", why))


def _is_dismissal(call: ast.Call) -> bool:
    """`page.once("dialog", lambda dialog: dialog.dismiss())`: browsers of sessions do that by themselves."""
    match call.args:
        case [ast.Constant(value="dialog"), ast.Lambda(body=ast.Call(func=ast.Attribute(attr="dismiss")))]:
            return True
    return False


def _call_of(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Await) else node


def _escaped(value: Any) -> Any:
    """Texts as they are, where `${` would begin a variable."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_escaped(v) for v in value]
    return value
