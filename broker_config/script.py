"""A scripted journey: Python of the user's own, run by runners that were started with `--allow-scripts`.

    async def journey(page, context, data):
        await page.goto(data["url"])
        async with step("pay"):
            await page.get_by_role("button", name="Pay").click()

It is compiled to see that it can be, and never run anywhere else than in such a runner.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .errors import Problem, SpecError
from .side_file import side_file

MAX_SCRIPT = 200_000
#: Runners that allow scripts take the sessions of scripted jobs from lanes of their own, so that no other
#: runner ever gets one: those of the pool `scripts`, or `<pool>_scripts` where the job names a pool.
SCRIPTS = "scripts"
_SUFFIX = f"_{SCRIPTS}"
MAX_POOL = 64 - len(_SUFFIX)


class Script(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`async def journey(page, context)`, in place of behaviour and journey; a third parameter gets the
    values that `${…}` stands for elsewhere, by name."""

    #: The file's text: a Python module.
    source: Annotated[str, Meta(max_length=MAX_SCRIPT)] = ""
    #: Read where the job is submitted: a stored job holds its source, and `file` is only its name.
    file: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    #: Stored secrets that it gets, by name: `data["secret:NAME"]`.
    secrets: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50)] = []
    #: Name of the function in it that is the journey.
    function: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "journey"

    @property
    def label(self) -> str:
        """Its name in messages."""
        return PurePath(self.file.replace("\\", "/")).name if self.file else "script"


def scripts_pool(pool: str | None) -> str:
    """The pool of which the sessions of scripted jobs are, where the job itself names `pool`."""
    return f"{pool}{_SUFFIX}" if pool else SCRIPTS


def pool_problem(pool: str) -> str | None:
    """What is wrong with the name of a pool of the user's own, beyond its characters."""
    if pool == SCRIPTS or pool.endswith(_SUFFIX):
        return f"{pool!r} is kept for scripted jobs; choose another name"
    return None


def with_source(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A job's document with the source of `script.file` in it; as it is where there is no file.

    A relative path is looked for in `folder`: that of the document. Raises `SpecError`.
    """
    script = document.get("script")
    if not isinstance(script, dict) or not isinstance(script.get("file"), str):
        return document
    if script.get("source"):
        raise SpecError([Problem("script", "has both file and source; give one")])
    path = side_file(script["file"], folder, "script.file")
    return document | {"script": script | {"file": path.name, "source": read_source(path)}}


def read_source(path: Path) -> str:
    """The text of a script's file. Raises `SpecError`."""
    try:
        if path.stat().st_size > MAX_SCRIPT * 4:
            raise SpecError([Problem("", f"it is larger than {MAX_SCRIPT // 1000} KB")], str(path))
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError([Problem("", "it is not UTF-8 text")], str(path)) from None
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], str(path)) from None


def script_problems(script: Script) -> Iterator[Problem]:
    """What is wrong with a script, by line where there is one."""
    if not script.source.strip():
        if script.file is not None:
            yield Problem(
                "script.file", "is read where a job is submitted by `tb`; here give its text as source"
            )
        else:
            yield Problem("script", "is empty; give file, the path of a Python file, or source, its text")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(script.source, script.label)
            compile(tree, script.label, "exec", dont_inherit=True)
    except SyntaxError as e:
        line = f"line {e.lineno}: " if e.lineno else ""
        yield Problem("script", f"{line}{e.msg}")
        return
    except (ValueError, RecursionError, MemoryError, OverflowError) as e:
        yield Problem("script", f"it is no Python that can be compiled: {e or type(e).__name__}")
        return
    functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)}
    found = functions.get(script.function)
    if found is None:
        there = [n for n, f in functions.items() if isinstance(f, ast.AsyncFunctionDef)]
        near = difflib.get_close_matches(script.function, there, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(there[:10]) or 'none'}"
        yield Problem(
            "script.function",
            f"there is no async function {script.function!r} at the top of {script.label}; {hint}",
        )
    elif not isinstance(found, ast.AsyncFunctionDef):
        yield Problem("script", f"line {found.lineno}: write async def {found.name}, not def")
    elif _takes(found)[1] < 2 or _takes(found)[0] > 3:
        yield Problem(
            "script",
            f"line {found.lineno}: {found.name} must take page and context, and may take data after them",
        )


def takes_data(source: str, function: str) -> bool:
    """Whether the function has a place for the values of the session."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function:
            return _takes(node)[1] >= 3
    return False


def _takes(function: ast.AsyncFunctionDef) -> tuple[int, int]:
    """How many arguments by position it needs, and how many it takes."""
    a = function.args
    places = len(a.posonlyargs) + len(a.args)
    needed = places - len(a.defaults) + sum(d is None for d in a.kw_defaults) * 100
    return needed, 100 if a.vararg else places
