"""A job spec from a file (YAML, JSON, TOML), from standard input, or from flags."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from broker_config.errors import Problem, SpecError

T = TypeVar("T")

_MAX_BYTES = 8 << 20
_BINARY = "it is not UTF-8 text; a job spec is YAML, JSON or TOML"


def read(path: str) -> dict[str, Any]:
    """The document in a file; `-` is standard input (YAML, of which JSON is a part).

    Raises `SpecError` that names the file and, where known, line and column.
    """
    if path == "-":
        try:
            text = sys.stdin.read(_MAX_BYTES + 1)
        except UnicodeDecodeError:
            raise SpecError([Problem("", _BINARY)], "standard input") from None
        return _object(_yaml(text, "standard input"), "standard input")
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        raise SpecError([Problem("", _BINARY)], path) from None
    except FileNotFoundError:
        what = "No such file; name a job spec (.yaml, .json or .toml), or - for standard input"
        raise SpecError([Problem("", what)], path) from None
    except IsADirectoryError:
        raise SpecError([Problem("", "it is a folder; name the job spec in it")], path) from None
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], path) from None
    except ValueError as e:
        raise SpecError([Problem("", f"cannot be the name of a file: {e}")]) from None
    if not text.strip():
        return _object(None, path)
    match file.suffix.lower():
        case ".json":
            try:
                return _object(json.loads(text), path)
            except json.JSONDecodeError as e:
                raise SpecError([Problem(f"line {e.lineno}, column {e.colno}", e.msg)], path) from None
            except (RecursionError, ValueError) as e:
                raise SpecError([Problem("", f"not JSON: {e}")], path) from None
        case ".toml":
            try:
                return _object(tomllib.loads(text), path)
            except (RecursionError, ValueError) as e:
                raise SpecError([Problem("", f"not TOML: {e}")], path) from None
        case ".yaml" | ".yml" | "":
            return _object(_yaml(text, path), path)
        case suffix:
            raise SpecError([Problem("", f"{suffix} is no known kind; use .yaml, .json or .toml")], path)


def merged(document: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """The document with what flags say in its place; flags that are None or empty say nothing."""
    out = dict(document)
    if urls := flags.get("url"):
        out["targets"] = [{"url": u} for u in urls]
    for name in ("name", "sessions", "priority", "seed", "pool"):
        if flags.get(name) is not None:
            out[name] = flags[name]
    if flags.get("vus") is not None:
        load = out.get("load") or {"executor": "shared-sessions"}
        out["load"] = _part(load, dict, "load") | {"vus": flags["vus"]}
    if flags.get("platform"):
        out["platforms"] = list(flags["platform"])
    if flags.get("threshold"):
        out["thresholds"] = [*_part(out.get("thresholds", []), list, "thresholds"), *flags["threshold"]]
    if flags.get("dwell") is not None:
        out["behaviour"] = _part(out.get("behaviour") or {}, dict, "behaviour") | {"dwell": flags["dwell"]}
    return out


def _part(value: Any, kind: type[T], where: str) -> T:
    """A part of the document to which a flag adds something."""
    if not isinstance(value, kind):
        what = "an object" if kind is dict else "a list"
        raise SpecError([Problem(where, f"{value!r:.80} is not {what}")])
    return value


def _yaml(text: str, source: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError([Problem(where, e.problem or "not YAML")], source) from None
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        raise SpecError([Problem("", f"not YAML: {e}")], source) from None


def _object(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        what = "it is empty" if value is None else "it holds no job"
        what += "; a job is an object with targets and sessions, such as `tb jobs schema` describes"
        raise SpecError([Problem("", what)], source)
    return value
