"""A job's bounds for artifacts: who gets room. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker_config.artifacts import ArtifactInfo, Artifacts


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What a job has used of its bounds, as it stands in the bucket `artifact_quotas`."""

    count: int = 0
    bytes: int = 0


def grant(
    used: Quota, items: Sequence[ArtifactInfo], bounds: Artifacts
) -> tuple[Quota, list[ArtifactInfo], str]:
    """What is used after it, what of `items` has room (the earlier go first), and why the rest has none."""
    granted, reason = [], ""
    for item in items:
        if used.count >= bounds.max_count:
            reason = f"the job keeps at most {bounds.max_count} artifacts (max_count)"
        elif used.bytes + item.bytes > bounds.max_bytes:
            reason = f"the job keeps at most {bounds.max_bytes} bytes of artifacts (max_bytes)"
        else:
            used = Quota(count=used.count + 1, bytes=used.bytes + item.bytes)
            granted.append(item)
    return used, granted, reason
