"""Streams and buckets, as data. `provisioning` makes the broker look like this."""

from __future__ import annotations

from typing import Literal

import msgspec

from . import subjects
from .artifacts import MAX_TTL

MIB = 1 << 20
GIB = 1 << 30
DAY = 86_400.0


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A JetStream stream. Ages in seconds, sizes in bytes, -1 is no limit."""

    name: str
    subjects: tuple[str, ...]
    description: str
    retention: Literal["limits", "workqueue"] = "limits"
    storage: Literal["file", "memory"] = "file"
    discard: Literal["new", "old"] = "new"
    max_bytes: int
    max_age: float = 0.0
    max_message_bytes: int = MIB
    duplicate_window: float = 120.0
    deny_delete: bool = False
    deny_purge: bool = False
    allow_direct: bool = True
    allow_atomic: bool = False


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A key-value bucket; its stream is `KV_<name>`."""

    name: str
    description: str
    storage: Literal["file", "memory"] = "file"
    max_bytes: int
    history: int = 1
    #: Seconds after which a key is gone, 0 for never.
    ttl: float = 0.0
    #: Seconds that the marker of an expired key stays; 0 forbids a TTL of a key's own.
    marker_ttl: float = 0.0
    #: Largest value, bytes.
    max_value_bytes: int = MIB


class ObjectBucket(msgspec.Struct, frozen=True, kw_only=True):
    """An object store; its stream is `OBJ_<name>`. Full, it refuses what is new."""

    name: str
    description: str
    max_bytes: int
    #: Seconds after which an object is gone, where it has no shorter time of its own.
    ttl: float


DISPATCH = Stream(
    name="DISPATCH",
    subjects=(subjects.JOB_DISPATCHES,),
    description="Sessions that wait for a runner or are with one",
    retention="workqueue",
    max_bytes=256 * MIB,
    allow_atomic=True,
)
PROGRESS = Stream(
    name="PROGRESS",
    subjects=(subjects.SESSION_RECORDS,),
    description="Terminal records of sessions: what the accounting is made of",
    max_bytes=4 * GIB,
    max_age=30 * DAY,
    deny_delete=True,
    deny_purge=True,
)
QUARANTINE = Stream(
    name="QUARANTINE",
    subjects=(subjects.QUARANTINES,),
    description="Messages that could not be used, for a person to look at; the oldest make room",
    discard="old",
    max_bytes=64 * MIB,
    max_age=7 * DAY,
)
#: Nothing in it is ever removed; full, it refuses, and with it every change. An entry is half a kilobyte.
AUDIT = Stream(
    name="AUDIT",
    subjects=(subjects.AUDITS,),
    description="Who did what: a chain of entries, each with the hash of the one before",
    max_bytes=GIB,
    max_message_bytes=16 << 10,
    deny_delete=True,
    deny_purge=True,
)
STREAMS = (DISPATCH, PROGRESS, QUARANTINE, AUDIT)

JOBS = Bucket(name="jobs", description="Jobs and the checkpoints of their folds", max_bytes=GIB)
RUNNERS = Bucket(
    name="runners",
    description="Runners as last seen",
    storage="memory",
    max_bytes=64 * MIB,
    ttl=DAY,
)
LEADERSHIP = Bucket(
    name="leadership", description="Who conducts", max_bytes=MIB, marker_ttl=5.0, max_value_bytes=4096
)
PROXIES = Bucket(name="proxies", description="Pools of proxies, sealed", max_bytes=64 * MIB)
#: Lives longer than the artifacts that it counts: a job's bounds hold for as long as the job can run.
ARTIFACT_QUOTAS = Bucket(
    name="artifact_quotas",
    description="How much of its bounds for artifacts each job has used",
    max_bytes=64 * MIB,
    ttl=2 * MAX_TTL,
    max_value_bytes=4096,
)
SECRETS = Bucket(
    name="secrets",
    description="Secrets of journeys, sealed",
    max_bytes=256 * MIB,
    max_value_bytes=128 << 10,
)
TARGETS = Bucket(
    name="targets",
    description="Origins of projects, and how they were proved",
    max_bytes=64 * MIB,
    marker_ttl=3600.0,
    max_value_bytes=16 << 10,
)
#: Full, it takes nobody new; logins leave it by themselves when their time is over.
PEOPLE = Bucket(
    name="people",
    description="Users, projects, and hashes of their credentials",
    max_bytes=64 * MIB,
    marker_ttl=3600.0,
    max_value_bytes=256 << 10,
)
#: Its revisions order kills among dispatches: no entry may expire.
KILLS = Bucket(name="kills", description="What is killed until it is lifted", max_bytes=16 * MIB)
SETTINGS = Bucket(
    name="settings", description="What all orchestrators share", max_bytes=MIB, max_value_bytes=64 << 10
)
#: Their time is the life of a ticket.
SOCKET_TICKETS = Bucket(
    name="socket_tickets",
    description="Hashes of tickets for handshakes of WebSockets, each good once",
    storage="memory",
    max_bytes=16 * MIB,
    ttl=30.0,
    max_value_bytes=64 << 10,
)
ENROLMENT = Bucket(
    name="enrolment",
    description="Invites of runners, who has joined by them, whose credentials are revoked",
    max_bytes=64 * MIB,
    marker_ttl=3600.0,
    max_value_bytes=16 << 10,
)
BUCKETS = (
    ENROLMENT,
    JOBS,
    RUNNERS,
    LEADERSHIP,
    SOCKET_TICKETS,
    PROXIES,
    ARTIFACT_QUOTAS,
    KILLS,
    SETTINGS,
    PEOPLE,
    SECRETS,
    TARGETS,
)

ARTIFACTS = ObjectBucket(
    name="artifacts",
    description="Screenshots, HAR, traces, videos and console logs of sessions",
    max_bytes=2 * GIB,
    ttl=MAX_TTL,
)
OBJECT_BUCKETS = (ARTIFACTS,)

#: Delivery attempts of one dispatch message, and the lease of a delivery in seconds.
MAX_DELIVER = 12
LEASE = 15.0
#: Sessions of one platform that may be with runners at once.
MAX_ACK_PENDING = 20_000
MAX_WAITING = 20_000
