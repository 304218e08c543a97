"""A terminal record as the auditor reads it: from the JSON text itself, without the message types."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, NoReturn

from broker_config.errors import MessageError

#: The metrics of a session, and its own duration.
METRICS = (
    "ttfb",
    "dcl",
    "load",
    "fcp",
    "lcp",
    "cls",
    "inp",
    "bytes",
    "requests",
    "failed_requests",
    "console_errors",
)


class RunnerEnd(NamedTuple):
    """What a runner says of one attempt. `values` holds the metrics that were seen, and `duration`."""

    job: str
    runner: str
    session: int
    attempt: int
    status: str
    target: str
    platform: str
    asked: str | None
    started_at: float
    ended_at: float
    error: str | None
    saturated: bool
    values: dict[str, float]
    #: `(name, ms, succeeded)` of each step.
    steps: list[tuple[str, float, bool]]
    detail: str
    #: The error is said to be one of runner, browser or egress.
    fault: bool
    refused: dict[str, int]
    third_parties: dict[str, int]
    upstreams: list[str]


class OwedEnd(NamedTuple):
    """What the conductor says of sessions that no runner reports; `ranges` are inclusive."""

    job: str
    ranges: list[tuple[int, int]]
    status: str
    at: float
    attempt: int
    error: str | None
    detail: str


def read_runner_end(data: bytes) -> RunnerEnd:
    """Raises `MessageError` in words."""
    raw = _object(data)
    measures = raw.get("measures", {})
    if not isinstance(measures, dict):
        raise MessageError(f"measures is {_show(measures)}, not an object")
    values = {name: _number(measures, name) for name in METRICS if measures.get(name) is not None}
    duration = _number(raw, "duration_ms", 0.0)
    if duration:
        values["duration"] = duration
    if raw.get("start_error_ms") is not None:
        values["start_error"] = _number(raw, "start_error_ms")
    asked = raw.get("asked")
    saturated = raw.get("saturated", False)
    if not isinstance(saturated, bool):
        raise MessageError(f"saturated is {_show(saturated)}, not true or false")
    return RunnerEnd(
        job=_text(raw, "job"),
        runner=_text(raw, "runner"),
        session=_whole(raw, "session"),
        attempt=_whole(raw, "attempt"),
        status=_text(raw, "status"),
        target=_text(raw, "target", ""),
        platform=_text(raw, "platform", ""),
        asked=None if asked is None else _text(raw, "asked"),
        started_at=_number(raw, "started_at", 0.0),
        ended_at=_number(raw, "ended_at", 0.0),
        error=_error(raw),
        saturated=saturated,
        values=values,
        steps=_steps(raw),
        detail=_detail(raw),
        fault=_is_fault(raw),
        refused=_sums(raw, "refused"),
        third_parties=_sums(raw, "third_parties"),
        upstreams=_texts(raw, "upstreams"),
    )


def read_owed_end(data: bytes) -> OwedEnd:
    """Raises `MessageError` in words."""
    raw = _object(data)
    sessions = raw.get("sessions")
    if not isinstance(sessions, list):
        raise MessageError(f"sessions is {_show(sessions)}, not a list of ranges")
    ranges = []
    for pair in sessions:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int for n in pair):
            raise MessageError(f"{_show(pair)} is not a range [first, last]")
        ranges.append((pair[0], pair[1]))
    return OwedEnd(
        job=_text(raw, "job"),
        ranges=ranges,
        status=_text(raw, "status"),
        at=_number(raw, "at"),
        attempt=_whole(raw, "attempt", 0),
        error=_error(raw),
        detail=_detail(raw),
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as e:
        raise MessageError(f"it is not JSON: {e}") from None
    if not isinstance(raw, dict):
        raise MessageError(f"it is {_show(raw)}, not an object")
    return raw


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _text(raw: dict[str, Any], name: str, default: str | None = None) -> str:
    value = raw.get(name, default)
    if not isinstance(value, str):
        raise MessageError(f"{name} is missing" if value is None else f"{name} is {_show(value)}, not text")
    return value


def _whole(raw: dict[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name, default)
    if type(value) is not int:
        raise MessageError(
            f"{name} is missing" if value is None else f"{name} is {_show(value)}, not a whole number"
        )
    return value


def _number(raw: dict[str, Any], name: str, default: float | None = None) -> float:
    value = raw.get(name, default)
    if value is None:
        raise MessageError(f"{name} is missing")
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise MessageError(f"{name} is {_show(value)}, not a finite number")
    return number


def _error(raw: dict[str, Any]) -> str | None:
    error = raw.get("error")
    if error is None:
        return None
    if not isinstance(error, dict):
        raise MessageError(f"error is {_show(error)}, not an object")
    return _text(error, "kind")


def _detail(raw: dict[str, Any]) -> str:
    error = raw.get("error")
    return _text(error, "detail", "") if isinstance(error, dict) else ""


def _is_fault(raw: dict[str, Any]) -> bool:
    error = raw.get("error")
    return isinstance(error, dict) and error.get("infrastructure") is True


def _steps(raw: dict[str, Any]) -> list[tuple[str, float, bool]]:
    steps = raw.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        raise MessageError(f"steps is {_show(steps)}, not a list of objects")
    return [(_text(s, "name"), _number(s, "ms"), s.get("ok", True) is True) for s in steps]


def _sums(raw: dict[str, Any], name: str) -> dict[str, int]:
    sums = raw.get(name, {})
    if not isinstance(sums, dict):
        raise MessageError(f"{name} is {_show(sums)}, not an object")
    return {key: _whole(sums, key) for key in sums}


def _texts(raw: dict[str, Any], name: str) -> list[str]:
    texts = raw.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise MessageError(f"{name} is {_show(texts)}, not a list of texts")
    return texts


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
