"""What became of one attempt at a session."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from broker_config.artifacts import ArtifactKind
from broker_config.messages import ErrorInfo, Measures, PageMeasures, StepRecord


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that a journey took."""

    name: str
    jpeg: bytes


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a session leaves behind, masked as the job wants it, in a file that whoever stores it
    removes. `name` is a file name such as `failure.jpg`."""

    name: str
    kind: ArtifactKind
    path: Path


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is set exactly when `status` is `failed`. `duration_ms` runs from the first browser call to the
    close of the context. `measures` is of the first page; `pages` holds all where there were several.
    `dropped` is what came too late for its time, and was not run."""

    status: Literal["ok", "failed", "cancelled", "dropped"]
    duration_ms: float = 0.0
    error: ErrorInfo | None = None
    measures: Measures = msgspec.field(default_factory=Measures)
    pages: list[PageMeasures] = []
    steps: list[StepRecord] = []
    shots: list[Shot] = []
    artifacts: list[Artifact] = []
    #: Proxies that its traffic went through, without credentials; `direct` stands for none.
    upstreams: list[str] = []
    #: Requests that the egress gate refused, and those to third parties, by origin.
    refused: dict[str, int] = {}
    third_parties: dict[str, int] = {}
