"""What a session leaves behind beside its numbers: pictures, traces, HAR, video, console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self, get_args

import msgspec
from msgspec import Meta

from .duration import Duration
from .errors import Problem

ArtifactKind = Literal["screenshot", "har", "console", "trace", "video"]
KINDS: tuple[ArtifactKind, ...] = get_args(ArtifactKind)
#: The store keeps nothing for longer, s.
MAX_TTL = 30 * 86_400
MIN_TTL = 60
_NAME = re.compile(r"([A-Za-z0-9_-]{1,64})/(\d{1,9})\.(\d{1,9})/([A-Za-z0-9][A-Za-z0-9._-]{0,79})")


class Artifacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which to keep, of which sessions, and how much of it.

    `trace` and `video` cost the measured session much (about 1.7 times the CPU): they are recorded only in
    retried sessions and in those of the sample, unless `when` is `always`.
    """

    #: What to keep; nothing by default.
    keep: list[ArtifactKind] = []
    #: `failure`: of sessions that failed; `sample`: of those and of the share `sample`; `always`: of all.
    when: Literal["failure", "sample", "always"] = "failure"
    #: Share of sessions, 0 to 1, drawn by the job's seed.
    sample: Annotated[float, Meta(ge=0, le=1)] = 0.01
    #: Pieces of the whole job. What comes after is left out, and counted so.
    max_count: Annotated[int, Meta(ge=1, le=10_000)] = 200
    #: Bytes of the whole job. What comes after is left out, and counted so.
    max_bytes: Annotated[int, Meta(ge=1, le=10_000_000_000)] = 200_000_000
    #: How long they are kept.
    ttl: Duration = msgspec.field(default_factory=lambda: Duration(7 * 86_400))
    #: Cookies, authorisation headers and filled-in values are masked, unless this is false.
    mask: bool = True


class ArtifactInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One that is stored. `name` is its object's name in the store: `<job>/<session>.<attempt>/<file>`."""

    name: str
    kind: str
    bytes: int = 0


class ArtifactName(NamedTuple):
    """The parts of a name in the store. `str` of it is the name."""

    job: str
    session: int
    attempt: int
    file: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for what cannot be the name of an artifact."""
        found = _NAME.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is not the name of an artifact: <job>/<session>.<attempt>/<file>")
        return cls(found[1], int(found[2]), int(found[3]), found[4])

    def __str__(self) -> str:
        return f"{self.job}/{self.session}.{self.attempt}/{self.file}"


def artifact_problems(artifacts: Artifacts) -> Iterator[Problem]:
    """What is wrong with this part of a spec."""
    if artifacts == Artifacts():
        return
    if not artifacts.keep:
        yield Problem("artifacts.keep", f"is missing; name what to keep: {', '.join(KINDS)}")
    if len(set(artifacts.keep)) < len(artifacts.keep):
        yield Problem("artifacts.keep", "something stands there twice")
    if not MIN_TTL <= artifacts.ttl <= MAX_TTL:
        yield Problem("artifacts.ttl", f"{artifacts.ttl} is not allowed; use 1m to {MAX_TTL // 86_400}d")
