"""`${secret:NAME}`: a stored secret of the job's project, whose value only the runner of a session gets.

It may stand wherever `${…}` may stand in a journey; in a cell of the job's data, as all of it; and scripts
name theirs in `script.secrets`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import codec, variables
from .data import Cell, Row
from .errors import Problem
from .journey import Journey
from .script import Script

PREFIX = "secret:"
#: Different secrets that one job may name.
MAX_NAMED = 50
#: Of one secret, bytes, and characters: shorter ones could not be told from other text, so not be masked.
MAX_BYTES = 64 << 10
MIN_LENGTH = 4

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CELL = re.compile(r"\$\{\s*secret:([^{}]*?)\s*\}")


def secret_name(variable: str) -> str | None:
    """The name in `secret:NAME`, right or wrong; None for other variables."""
    return variable.removeprefix(PREFIX) if variable.startswith(PREFIX) else None


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a secret, or None."""
    if _NAME.fullmatch(name):
        return None
    return f"{name[:100]!r} is no name of a secret; use 1 to 64 characters of A-Z a-z 0-9 _ -"


def of_cell(cell: Cell) -> str | None:
    """The name of the secret that a cell stands for."""
    if not isinstance(cell, str) or not cell.startswith("${"):
        return None
    found = _CELL.fullmatch(cell)
    return found[1] if found else None


def places(journey: Journey | None, rows: Sequence[Row], script: Script | None) -> Iterator[tuple[str, str]]:
    """Each name of a secret with its place: `("PASSWORD", "journey.steps[2].fill.value")`."""
    for i, step in enumerate(journey.steps if journey is not None else ()):
        for where, text in variables.texts(codec.to_builtins(step), f"journey.steps[{i}]"):
            for variable in variables.names(text) if "${" in text else ():
                if (name := secret_name(variable)) is not None:
                    yield name, where
    for i, row in enumerate(rows):
        for column, cell in row.items():
            if (name := of_cell(cell)) is not None:
                yield name, f"data.rows[{i}].{column}"
    for i, name in enumerate(script.secrets if script is not None else ()):
        yield name, f"script.secrets[{i}]"


def first_places(journey: Journey | None, rows: Sequence[Row], script: Script | None) -> dict[str, str]:
    """The secrets that are named, each with the first place where it is."""
    found: dict[str, str] = {}
    for name, where in places(journey, rows, script):
        found.setdefault(name, where)
    return found


def ref_problems(named: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """What is wrong with the `places` of a job, beyond that a secret may not be there."""
    seen: dict[str, str] = {}
    for name, where in named:
        if name not in seen and (wrong := name_problem(name)):
            yield Problem(where, wrong)
        seen.setdefault(name, where)
    if len(seen) > MAX_NAMED:
        yield Problem("", f"it names {len(seen)} secrets; at most {MAX_NAMED} are allowed")


def filled_in(row: Row, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The variables of a session by name, with its secrets in place. `KeyError` names one that is missing."""
    out: dict[str, Any] = {}
    for column, cell in row.items():
        name = of_cell(cell)
        out[column] = cell if name is None else secrets[name]
    return out | {f"{PREFIX}{name}": value for name, value in secrets.items()}
