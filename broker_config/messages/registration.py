"""`runner.register`: what a runner says of itself, and the orchestrator's answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.kill import Kill

#: Protocol version that this code speaks, and the oldest that it still understands.
PROTOCOL = 1
PROTOCOL_OLDEST = 1


def own_protocol() -> int:
    """Default factory of `protocol` in messages that leave defaults out: it always stands on the wire.

    Left out, it would mean whatever version the reader speaks.
    """
    return PROTOCOL


RefusalCode = Literal["protocol_version", "duplicate_id", "unknown_token", "bad_request", "unavailable"]


class PlatformOffer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A platform that the runner has really started once."""

    platform: str
    browser_version: str = ""
    headless: bool = True


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Runner → orchestrator. `instance` is new at each start of the process; `runner` may stay the same."""

    runner: str
    instance: str
    platforms: list[PlatformOffer]
    slots: int
    protocol: int = PROTOCOL
    labels: dict[str, str] = {}
    pool: str | None = None
    version: str = ""
    hostname: str = ""
    cores: int = 0
    memory_bytes: int = 0
    #: It runs scripts of users.
    scripts: bool = False


class RunnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the orchestrator asks of a runner."""

    heartbeat_s: float = 1.0
    #: The lease of a dispatched session; renewed every third of it.
    lease_s: float = 15.0
    #: Stream and consumers to pull from, by platform.
    stream: str = "DISPATCH"
    consumers: dict[str, str] = {}
    #: The consumers of scripted jobs, by platform; for runners that allow scripts.
    script_consumers: dict[str, str] = {}
    #: Public keys of which one must have signed each dispatch; empty where this is not asked for. A runner
    #: whose credential names one goes by that.
    dispatch_keys: list[str] = []
    #: Kills that hold now.
    kills: list[Kill] = []
    #: The orchestrator's clock, s since 1970; 0 where it does not say.
    now: float = 0.0
    #: Whom to ask about the traffic: an address that each request tells.
    contact: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a runner is not registered; `retry_after_s` is set where waiting can help."""

    code: RefusalCode
    detail: str
    retry_after_s: float | None = None


class RegisterReply(msgspec.Struct, frozen=True, kw_only=True):
    """Orchestrator → runner: exactly one of `settings` and `refusal` is set."""

    runner: str = ""
    settings: RunnerSettings | None = None
    refusal: Refusal | None = None
    protocol: int = PROTOCOL
