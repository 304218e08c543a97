"""Making the broker's streams and buckets as `streams` declares them.

Speaks JetStream's JSON API itself: every declared option reaches the server, known to nats-py or not.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from . import subjects
from .errors import BrokerError, BrokerRefused, BrokerUnavailable, Incompatible
from .stream_config import NANO, bucket_config, differing, object_bucket_config, stream_config
from .streams import (
    BUCKETS,
    DISPATCH,
    LEASE,
    MAX_ACK_PENDING,
    MAX_DELIVER,
    MAX_WAITING,
    OBJECT_BUCKETS,
    STREAMS,
    Bucket,
    ObjectBucket,
    Stream,
)

logger = logging.getLogger(__name__)

#: JetStream's error codes.
_NOT_FOUND = 10059
_NAME_IN_USE = 10058
_NO_STORAGE = (10023, 10028, 10047)
_NO_JETSTREAM = (10035, 10039, 10076)
_NOT_CLUSTERED = 10074
#: A cluster answers so while it elects its leaders or has not yet seen all of its nodes.
_NOT_YET = (10005, 10008, 10009)


class Change(NamedTuple):
    """What `provision` did to one stream; `fields` maps an option to what it was and what it is now."""

    kind: Literal["created", "updated"]
    name: str
    fields: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        if self.kind == "created":
            return f"created stream {self.name}"
        return f"updated stream {self.name}: {_differences(self.fields)}"


class _ApiError(Exception):
    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


async def provision(
    nc: Client,
    *,
    replicas: int = 1,
    log: Callable[[str], None] = logger.info,
    streams: Sequence[Stream] = STREAMS,
    buckets: Sequence[Bucket | ObjectBucket] = (*BUCKETS, *OBJECT_BUCKETS),
    timeout: float = 15.0,
) -> list[Change]:
    """Create what is missing and update what differs; returns what was done, nothing on a second call.

    Only declared options are compared: what an operator set besides stays. Any number of processes may call
    this at the same moment. A cluster that is still electing is waited for, `timeout` seconds in all.

    Raises `Incompatible` (what exists cannot become what is declared), `BrokerRefused` (no JetStream there,
    no permission, not enough storage), `BrokerUnavailable`.
    """
    wanted = [stream_config(s, replicas) for s in streams] + [
        bucket_config(b, replicas) if isinstance(b, Bucket) else object_bucket_config(b, replicas)
        for b in buckets
    ]
    deadline = asyncio.get_running_loop().time() + timeout
    changes = []
    for config in wanted:
        change = await _make(nc, config, deadline)
        if change is not None:
            log(str(change))
            changes.append(change)
    return changes


async def ensure_dispatch_consumer(
    nc_or_js: Client | JetStreamContext,
    platform: str,
    pool: str | None = None,
    *,
    lease: float = LEASE,
    max_deliver: int = MAX_DELIVER,
    timeout: float = 15.0,
) -> str:
    """The name of the durable pull consumer of `job.dispatch.<platform>[.<pool>]`, made if it is missing.

    Idempotent, also for several callers at once. `lease` is in seconds. Errors as `provision`.
    """
    nc = nc_or_js._nc if isinstance(nc_or_js, JetStreamContext) else nc_or_js
    name = subjects.dispatch_consumer(platform, pool)
    subject = subjects.job_dispatch(platform, pool)
    config = {
        "name": name,
        "durable_name": name,
        "filter_subject": subject,
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "ack_wait": round(lease * NANO),
        "max_deliver": max_deliver,
        "max_ack_pending": MAX_ACK_PENDING,
        "max_waiting": MAX_WAITING,
    }
    request = {"stream_name": DISPATCH.name, "config": config}
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        await _api(nc, f"CONSUMER.CREATE.{DISPATCH.name}.{name}.{subject}", request, deadline)
    except _ApiError as e:
        if e.code == _NOT_FOUND:
            raise BrokerRefused(
                f"stream {DISPATCH.name} does not exist; provision the broker first"
            ) from None
        raise _in_words(e, f"consumer {name} of stream {DISPATCH.name}", "nats consumer rm") from None
    return name


async def _make(nc: Client, declared: dict[str, Any], deadline: float) -> Change | None:
    name = declared["name"]
    try:
        exists = await _existing(nc, name, deadline)
        if exists is None:
            try:
                await _api(nc, f"STREAM.CREATE.{name}", declared, deadline)
                return Change("created", name, {})
            except _ApiError as e:
                if e.code != _NAME_IN_USE:
                    raise
                # Another process with another declaration was quicker.
                exists = await _existing(nc, name, deadline) or {}
    except _ApiError as e:
        raise _in_words(e, f"stream {name}", "nats stream rm") from None
    fields = differing(exists, declared)
    if not fields:
        return None
    try:
        # What is there stays, but for the declared options.
        await _api(nc, f"STREAM.UPDATE.{name}", {**exists, **declared}, deadline)
    except _ApiError as e:
        raise _in_words(e, f"stream {name}", "nats stream rm", _differences(fields)) from None
    return Change("updated", name, fields)


async def _existing(nc: Client, name: str, deadline: float) -> dict[str, Any] | None:
    try:
        info = await _api(nc, f"STREAM.INFO.{name}", None, deadline)
    except _ApiError as e:
        if e.code == _NOT_FOUND:
            return None
        raise
    config: dict[str, Any] = info["config"]
    return config


async def _api(nc: Client, what: str, body: Mapping[str, Any] | None, deadline: float) -> dict[str, Any]:
    """One request of JetStream's API; what can pass by itself is tried again until `deadline`."""
    clock = asyncio.get_running_loop().time
    payload = b"" if body is None else json.dumps(body).encode()
    pause = 0.1
    while True:
        left = deadline - clock()
        final: BrokerError
        try:
            reply = await nc.request(f"$JS.API.{what}", payload, timeout=max(0.1, min(5.0, left)))
            answer: dict[str, Any] = json.loads(reply.data)
            error = answer.get("error")
            if error is None:
                return answer
            code, text = error.get("err_code", 0), error.get("description", "")
            if code not in _NOT_YET:
                raise _ApiError(code, text)
            final = BrokerUnavailable(
                f"JetStream is not ready ({text}); check that enough nodes of the cluster run"
            )
        except nats.errors.NoRespondersError:
            final = BrokerRefused(
                "the broker has no JetStream for this user; start nats-server with JetStream (-js), "
                "or give the account JetStream"
            )
            left = min(left, 2.0)
        except nats.errors.ConnectionClosedError:
            raise BrokerUnavailable("the connection to the broker is closed; connect anew") from None
        except nats.errors.Error as e:
            final = BrokerUnavailable(f"JetStream does not answer ({what}: {e}); check the broker")
        if deadline - clock() < pause or left <= pause:
            raise final
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 2)


def _in_words(e: _ApiError, what: str, remove: str, differences: str = "") -> BrokerError:
    if e.code in _NO_JETSTREAM:
        return BrokerRefused(f"the broker has no JetStream for this user ({e}); enable it there")
    if e.code in _NO_STORAGE:
        return BrokerRefused(
            f"the broker has not enough storage for {what} ({e}); raise max_file_store or max_memory_store "
            "in its configuration"
        )
    if e.code == _NOT_CLUSTERED:
        return BrokerRefused(f"the broker is a single node ({e}); ask for 1 replica, or start a cluster")
    detail = f": {differences}" if differences else ""
    return Incompatible(
        f"{what} cannot become what is declared{detail} (the broker says: {e}); go on with the "
        f"version that made it, or remove it with its content ({remove}) and start again"
    )


def _differences(fields: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{key} is {old!r} there, {new!r} declared" for key, (old, new) in fields.items())
