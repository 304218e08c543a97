"""`job.dispatch.<platform>`: one session for one runner, with all that it needs to run it."""

from __future__ import annotations

import msgspec

from broker_config.artifacts import Artifacts
from broker_config.behaviour import Behaviour
from broker_config.data import Row
from broker_config.device import Device
from broker_config.egress import Egress, ThirdParty
from broker_config.grant import SignedGrant
from broker_config.job_spec import Limits
from broker_config.journey import Journey
from broker_config.people import DEFAULT_PROJECT
from broker_config.script import Script

from .registration import own_protocol

#: Seconds for which a dispatch may be begun after it was sent. What waits for longer is sent anew.
DISPATCH_LIFE = 3600.0


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session of a job.

    `attempt` is the number of this message's first delivery; the n-th delivery of it is attempt
    `attempt + n - 1`. `message_id` is the `Nats-Msg-Id` under which it is published.
    """

    job: str
    session: int
    platform: str
    target: str
    url: str
    attempt: int = 1
    protocol: int = msgspec.field(default_factory=own_protocol)
    pool: str | None = None
    #: Platform that the spec asked for, where a fallback was taken.
    asked: str | None = None
    seed: int = 0
    #: How often an infrastructure fault may be tried again.
    retries: int = 1
    behaviour: Behaviour = msgspec.field(default_factory=Behaviour)
    limits: Limits = msgspec.field(default_factory=Limits)
    #: How often the job was resumed when this was dispatched: a session that a pause withdrew needs a
    #: message id of its own, or the broker's duplicate window would swallow it.
    generation: int = 0
    #: Steps to take, instead of reading as `behaviour` says; `variables` holds the values of its row of data.
    journey: Journey | None = None
    variables: Row = {}
    #: Origins beside that of `url` whose pages the session may open.
    origins: list[str] = []
    device: Device | None = None
    #: When to start, s since 1970, and how much later at most: then it is dropped. None: at once. The clocks
    #: of the machines must be in step for this (NTP): a runner goes by its own.
    start_at: float | None = None
    late_limit: float = 0.0
    #: How this session's traffic leaves; proxies stand in the bucket `proxies`, never here. None: direct.
    egress: Egress | None = None
    third_party: ThirdParty = "block"
    #: Its share of the job's rate ceiling: requests a second to one origin.
    rate: float | None = None
    artifacts: Artifacts | None = None
    script: Script | None = None
    project: str = DEFAULT_PROJECT
    #: When it was sent, by the orchestrator's clock. One that is older than `DISPATCH_LIFE` is not run any
    #: more: what somebody has kept and sends again. 0: it does not say, and does not age.
    issued_at: float = 0.0
    #: Who sent it had read the bucket `kills` up to this revision.
    kills: int = 0
    #: Where its job may go; nothing is done beyond it.
    grant: SignedGrant | None = None

    @property
    def message_id(self) -> str:
        plain = f"{self.job}.{self.session}.{self.attempt}"
        if self.generation:
            plain += f".{self.generation}"
        # What is withdrawn from one platform and sent to another must not be taken for the same message.
        return f"{plain}.{self.platform}" if self.asked else plain
