"""Where a job may go: loopback always, other origins only when the operator has listed them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from broker_config.address import as_address, is_public
from broker_config.errors import Problem
from broker_config.job_spec import JobSpec
from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern

ANY = "*"


def problems(spec: JobSpec, allowed: Collection[str]) -> list[Problem]:
    """One problem for each target and each other origin to open that is not allowed, and for each third
    party that is an address of a private network. `allowed` holds origins or `*`."""
    asked = [(f"targets[{i}].url", t.url) for i, t in enumerate(spec.targets)]
    asked += [(f"origins[{i}]", text) for i, text in enumerate(spec.origins)]
    return refusals(asked, allowed) + list(_third_parties(spec, allowed))


def refusals(asked: Iterable[tuple[str, str]], allowed: Collection[str]) -> list[Problem]:
    """One problem for each place and URL (`ValueError` for what is none) that is not allowed."""
    if ANY in allowed:
        return []
    origins = {Origin.of(a) for a in allowed}
    out = []
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


def _third_parties(spec: JobSpec, allowed: Collection[str]) -> Iterator[Problem]:
    if isinstance(spec.third_party, str) or ANY in allowed:
        return
    origins = {Origin.of(a) for a in allowed}
    for i, text in enumerate(spec.third_party):
        if not _may_load(OriginPattern.parse(text), origins):
            yield Problem(
                f"third_party[{i}]",
                f"{text!r} is an address that is not public; write it with scheme and port, and the operator "
                "can add it to allowed_origins in the orchestrator's settings",
            )


def _may_load(pattern: OriginPattern, allowed: Collection[Origin]) -> bool:
    address = as_address(pattern.host)
    if address is None or is_public(address):
        return True  # what a name leads to is seen by the runner's gate
    if Origin("http", pattern.host, 80).is_loopback:
        return True
    if pattern.scheme is None or pattern.port is None:
        return False
    return Origin(pattern.scheme, pattern.host, pattern.port) in allowed
