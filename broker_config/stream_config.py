"""Declared streams and buckets as JetStream's JSON API takes them: times in nanoseconds, one flat object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .object_store import stream_name
from .streams import Bucket, ObjectBucket, Stream

NANO = 1_000_000_000


def stream_config(stream: Stream, replicas: int) -> dict[str, Any]:
    """The declaration as JetStream's API takes it."""
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "description": stream.description,
        "retention": stream.retention,
        "storage": stream.storage,
        "discard": stream.discard,
        "max_bytes": stream.max_bytes,
        "max_age": round(stream.max_age * NANO),
        "max_msg_size": stream.max_message_bytes,
        "duplicate_window": _duplicate_window(stream.duplicate_window, stream.max_age),
        "deny_delete": stream.deny_delete,
        "deny_purge": stream.deny_purge,
        "allow_direct": stream.allow_direct,
        "allow_atomic": stream.allow_atomic,
        "num_replicas": replicas,
    }


def bucket_config(bucket: Bucket, replicas: int) -> dict[str, Any]:
    """The bucket's stream: what `nats kv` and the clients' key-value stores expect."""
    config: dict[str, Any] = {
        "name": f"KV_{bucket.name}",
        "subjects": [f"$KV.{bucket.name}.>"],
        "description": bucket.description,
        "retention": "limits",
        "storage": bucket.storage,
        "discard": "new",
        "max_bytes": bucket.max_bytes,
        "max_age": round(bucket.ttl * NANO),
        "max_msg_size": bucket.max_value_bytes,
        "max_msgs_per_subject": bucket.history,
        "duplicate_window": _duplicate_window(120.0, bucket.ttl),
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "num_replicas": replicas,
    }
    if bucket.marker_ttl > 0:
        config["allow_msg_ttl"] = True
        config["subject_delete_marker_ttl"] = round(bucket.marker_ttl * NANO)
    return config


def object_bucket_config(bucket: ObjectBucket, replicas: int) -> dict[str, Any]:
    """The bucket's stream: what `nats object` and the clients' object stores expect, to read."""
    return {
        "name": stream_name(bucket.name),
        "subjects": [f"$O.{bucket.name}.C.>", f"$O.{bucket.name}.M.>"],
        "description": bucket.description,
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": bucket.max_bytes,
        "max_age": round(bucket.ttl * NANO),
        "duplicate_window": _duplicate_window(120.0, bucket.ttl),
        # Runners write here, and a chunk with a header for it would take all there is with it.
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": True,
        "allow_direct": True,
        "num_replicas": replicas,
    }


def _duplicate_window(window: float, max_age: float) -> int:
    # The server refuses a window that is longer than messages live.
    return round((min(window, max_age) if max_age else window) * NANO)


def differing(exists: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Declared options whose value on the broker is another; the server leaves out what is false or 0."""
    return {
        key: (exists.get(key), value)
        for key, value in declared.items()
        if exists.get(key) != value and (value or exists.get(key))
    }
