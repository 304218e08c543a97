"""Named points at which a process kills itself: before and after each publish, ack and checkpoint.

`FAIL_AT="after record:3"` kills the process with SIGKILL the third time it comes there. Only the process
wrappers of the tests arm this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

RUNNER_POINTS = (
    "before record",
    "after record",
    "before ack",
    "after ack",
    "before renewal",
    "after renewal",
)
ORCHESTRATOR_POINTS = (
    "before dispatch",
    "after dispatch",
    "before checkpoint",
    "after checkpoint",
    "before job",
    "after job",
    "before conductor record",
    "after conductor record",
    "before leadership",
    "after leadership",
)


class _Fuse:
    def __init__(self) -> None:
        point, _, count = os.environ.get("FAIL_AT", "").partition(":")
        self.point = point
        self.left = int(count or 1)

    def pass_by(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


Call = Callable[..., Awaitable[Any]]


def _between(fuse: _Fuse, call: Call, name: Callable[..., str]) -> Call:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        what = name(*args, **kwargs)
        fuse.pass_by(f"before {what}")
        result = await call(*args, **kwargs)
        fuse.pass_by(f"after {what}")
        return result

    return wrapped


def arm_orchestrator() -> None:
    from orchestrator.bus.jet import Jet

    fuse = _Fuse()

    def name(self: Any, subject: Any, *_: Any, **__: Any) -> str:
        if not isinstance(subject, str):
            return "dispatch"
        if subject.startswith("$KV.leadership"):
            return "leadership"
        if subject.startswith("$KV.jobs"):
            return "checkpoint" if subject.endswith(".checkpoint") else "job"
        return "conductor record" if subject.endswith(".conductor") else "dispatch"

    Jet.publish = _between(fuse, Jet.publish, name)  # type: ignore[method-assign,assignment]
    Jet.publish_all = _between(fuse, Jet.publish_all, name)  # type: ignore[method-assign,assignment]


def arm_runner() -> None:
    from runner.work.link import Link

    fuse = _Fuse()

    def asked(self: Any, subject: str, payload: bytes, **_: Any) -> str:
        return "record" if subject.startswith("job.progress.") else "renewal"

    def sent(self: Any, subject: str, payload: bytes = b"") -> str:
        return "ack" if payload.startswith(b"+ACK") else "other"

    Link.request = _between(fuse, Link.request, asked)  # type: ignore[method-assign,assignment]
    Link.send = _between(fuse, Link.send, sent)  # type: ignore[method-assign,assignment]
