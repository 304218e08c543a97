"""`runner.heartbeat.<runner>`: once a second, all that presence and capacity need."""

from __future__ import annotations

from typing import Literal

import msgspec

from .registration import PROTOCOL, PlatformOffer

#: `paused`: takes no new work; `draining`: finishes, then stops; `offline`: said good-bye; `lost`: silent.
#: A runner itself says only the first three and `offline`.
RunnerState = Literal["online", "paused", "draining", "offline", "lost"]


class RunningSession(msgspec.Struct, frozen=True, kw_only=True):
    job: str
    session: int
    attempt: int
    platform: str = ""
    since: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    runner: str
    instance: str
    at: float
    state: RunnerState
    slots: int
    busy: int
    platforms: list[PlatformOffer]
    protocol: int = PROTOCOL
    pool: str | None = None
    labels: dict[str, str] = {}
    version: str = ""
    hostname: str = ""
    started_at: float = 0.0
    #: CPU use of the whole machine, 0 to 1, and of the runner with its browsers, in cores.
    cpu: float = 0.0
    cpu_own: float = 0.0
    #: Memory of the machine in use and of the runner with its browsers, bytes.
    memory_used: int = 0
    memory_own: int = 0
    #: True while the runner starts no new session because the machine is saturated.
    saturated: bool = False
    sessions_done: int = 0
    running: list[RunningSession] = []
    #: It runs scripts of users.
    scripts: bool = False
