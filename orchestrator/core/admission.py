"""Where a job may go: loopback always, other origins only when the operator has listed them."""

from __future__ import annotations

from collections.abc import Collection

from broker_config.errors import Problem
from broker_config.job_spec import JobSpec
from broker_config.origin import Origin

ANY = "*"


def problems(spec: JobSpec, allowed: Collection[str]) -> list[Problem]:
    """One problem for each target and each other origin to open that is not allowed. `allowed` holds
    origins or `*`."""
    if ANY in allowed:
        return []
    origins = {Origin.of(a) for a in allowed}
    out = []
    asked = [(f"targets[{i}].url", t.url) for i, t in enumerate(spec.targets)]
    asked += [(f"origins[{i}]", text) for i, text in enumerate(spec.origins)]
    for where, url in asked:
        origin = Origin.of(url)
        if not origin.is_loopback and origin not in origins:
            out.append(
                Problem(
                    where,
                    f"{origin} is not an allowed origin; the operator can add it to allowed_origins "
                    "in the orchestrator's settings",
                )
            )
    return out
