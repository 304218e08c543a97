"""What a session leaves behind beside its numbers: pictures, traces, HAR, video, console."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from .duration import Duration

ArtifactKind = Literal["screenshot", "har", "console", "trace", "video"]
KINDS: tuple[ArtifactKind, ...] = get_args(ArtifactKind)


class Artifacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which to keep, of which sessions, and how much of it.

    `trace` and `video` cost the measured session much (about 1.7 times the CPU): they are recorded only in
    retried sessions and in those of the sample, unless `when` is `always`.
    """

    keep: list[ArtifactKind] = []
    #: `failure`: of sessions that failed; `sample`: of those and of the share `sample`; `always`: of all.
    when: Literal["failure", "sample", "always"] = "failure"
    #: Share of sessions, 0 to 1, drawn by the job's seed.
    sample: Annotated[float, Meta(ge=0, le=1)] = 0.01
    #: Bounds for the whole job: pieces and bytes. What comes after is left out, and counted so.
    max_count: Annotated[int, Meta(ge=1, le=10_000)] = 200
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
