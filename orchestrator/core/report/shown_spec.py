"""A job's spec as it may be shown to everybody who may see a report."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from broker_config import codec
from broker_config.egress import Egress
from broker_config.job_spec import JobSpec
from broker_config.journey import Journey, Step
from broker_config.proxy import Proxy

HIDDEN = "(hidden)"
_VARIABLES = re.compile(r"(\$\{[^{}]*\}|\s)+")


def shown_spec(spec: JobSpec) -> dict[str, Any]:
    """The spec as plain JSON; what may be secret is `HIDDEN`, or only counted."""
    shown = msgspec.structs.replace(
        spec,
        journey=_journey(spec.journey) if spec.journey else None,
        egress=_egress(spec.egress),
        data=None,
        script=None,
    )
    out: dict[str, Any] = codec.to_builtins(shown)
    if spec.data is not None:
        out["data"] = {
            "name": spec.data.name,
            "mode": spec.data.mode,
            "rows": len(spec.data.rows),
            "columns": sorted(spec.data.rows[0]) if spec.data.rows else [],
        }
    if spec.script is not None:
        out["script"] = {
            "function": spec.script.function,
            "lines": len(spec.script.source.splitlines()),
        }
    return out


def _journey(journey: Journey) -> Journey:
    return msgspec.structs.replace(journey, steps=[_step(s) for s in journey.steps])


def _step(step: Step) -> Step:
    if step.fill is None or not step.fill.value or _VARIABLES.fullmatch(step.fill.value):
        return step
    return msgspec.structs.replace(step, fill=msgspec.structs.replace(step.fill, value=HIDDEN))


def _egress(egress: Egress) -> Egress:
    return msgspec.structs.replace(egress, proxies=[_address(p) for p in egress.proxies])


def _address(proxy: str) -> str:
    try:
        return str(Proxy.parse(proxy))
    except ValueError:
        return HIDDEN
