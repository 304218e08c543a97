"""When a session has had attempts enough, and what it then is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from broker_config.messages import ErrorInfo, SessionStatus

#: A session that this many runner processes died with is not given to another.
POISON_AFTER = 3


def poisonous(holders: Iterable[str], died: Callable[[str, str], bool]) -> bool:
    """True if `POISON_AFTER` runner processes (`<runner>/<instance>`) held the session and all died."""
    pairs = [h.partition("/") for h in holders]
    return len(pairs) >= POISON_AFTER and all(died(runner, instance) for runner, _, instance in pairs)


def poison(holders: Iterable[str]) -> tuple[SessionStatus, ErrorInfo]:
    names = sorted(holders)
    detail = f"{len(names)} runner processes died with this session: {', '.join(names[:5])}"
    return "failed", ErrorInfo(kind="poison", detail=detail, infrastructure=True)


def lost(attempts: int) -> tuple[SessionStatus, ErrorInfo]:
    detail = f"{attempts} attempts, and no runner reported an end"
    return "lost", ErrorInfo(kind="lost", detail=detail, infrastructure=True)
