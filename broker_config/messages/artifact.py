"""`runner.artifact`: a runner asks whether a session's artifacts may be stored, before it sends them.

The bounds of a job hold for the whole fleet, so one counter of the job decides. A runner with a credential
sends the chunks alone, and asks again with what it has `stored`: only an orchestrator gives it a name.
"""

from __future__ import annotations

import msgspec

from broker_config.artifacts import ArtifactInfo
from broker_config.object_store import ObjectMeta

from .registration import own_protocol


class ArtifactRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt at a session has to store, the most telling first."""

    job: str
    runner: str
    items: list[ArtifactInfo] = []
    #: What is to be named, its chunks being in the store; `items` are empty then.
    stored: ObjectMeta | None = None
    protocol: int = msgspec.field(default_factory=own_protocol)


class ArtifactReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`granted` are names of the request; the others must not be stored. `reason` says why, in words."""

    granted: list[str]
    reason: str = ""
