"""Secrets for `tb journeys check`, which has no orchestrator: from a file of the user's own, or typed."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from broker_config import secret_ref
from broker_config.errors import Problem, SpecError
from broker_config.messages import Dispatch


def with_secrets(dispatch: Dispatch, file: Path | None) -> Dispatch:
    """The session with the values of the secrets that it names. Raises `SpecError`."""
    rows = [dispatch.variables] if dispatch.variables else []
    named = secret_ref.first_places(dispatch.journey, rows, dispatch.script)
    if not named:
        return dispatch
    given = {} if file is None else _read(file)
    values = {name: given[name] if name in given else _asked(name, where) for name, where in named.items()}
    variables = secret_ref.filled_in(dispatch.variables, values)
    return msgspec.structs.replace(dispatch, variables=variables)


def _asked(name: str, where: str) -> str:
    if sys.stdin.isatty():
        try:
            return getpass.getpass(f"value of the secret {name}: ")
        except EOFError:
            pass
    hint = f"names the secret {name}; give its value in a file, by --secrets"
    raise SpecError([Problem(where, hint)])


def _read(file: Path) -> dict[str, str]:
    try:
        found: Any = json.loads(file.read_text("utf-8-sig"))
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], str(file)) from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise SpecError([Problem("", 'it is not JSON such as {"NAME": "value"}')], str(file))
    return found
