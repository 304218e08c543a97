"""Whether a failed attempt is made again, or is the session's end."""

from __future__ import annotations

from collections.abc import Sequence

from broker_config.messages import ErrorInfo

CRASH = "browser_crashed"


def again(error: ErrorInfo | None, attempt: int, retries: int) -> bool:
    """True if the fault was the infrastructure's and attempts are left: no terminal record then."""
    return error is not None and error.infrastructure and attempt <= retries


def final_error(error: ErrorInfo | None, earlier: Sequence[str], attempt: int) -> ErrorInfo | None:
    """The error of the terminal record.

    `earlier` holds the kinds of earlier faults of the session that are known here. A session of which every
    known attempt, of two or more, took its browser down is poison.
    """
    if error is None or error.kind != CRASH or attempt < 2 or any(kind != CRASH for kind in earlier):
        return error
    detail = f"the browser crashed in each of {attempt} attempts; the last: {error.detail}"
    return ErrorInfo(kind="poison", detail=detail, infrastructure=True)
