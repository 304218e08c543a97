"""Where a job may go that brings no target: loopback, and what the operator has listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from broker_config.address import as_address, is_public
from broker_config.errors import Problem
from broker_config.job_spec import JobSpec
from broker_config.origin import Origin
from broker_config.origin_pattern import OriginPattern

from .target_rules import Grounds, normal_origin


def problems(spec: JobSpec, allowed: Collection[str] | Grounds) -> list[Problem]:
    """One problem for each target and each other origin to open that is not allowed, and for each third
    party that is an address of a private network. `allowed` holds origins or `*`."""
    grounds = allowed if isinstance(allowed, Grounds) else Grounds(allowed)
    asked = [(f"targets[{i}].url", t.url) for i, t in enumerate(spec.targets)]
    asked += [(f"origins[{i}]", text) for i, text in enumerate(spec.origins)]
    return refusals(asked, grounds) + list(third_parties(spec, grounds))


def refusals(asked: Iterable[tuple[str, str]], allowed: Collection[str] | Grounds) -> list[Problem]:
    """One problem for each place and URL (`ValueError` for what is none) that is not allowed."""
    grounds = allowed if isinstance(allowed, Grounds) else Grounds(allowed)
    out = []
    for where, url in asked:
        if not grounds.frees(origin := normal_origin(url)):
            out.append(
                Problem(
                    where,
                    f"{origin} is not an allowed origin; the operator can add it to allowed_origins "
                    "in the orchestrator's settings",
                )
            )
    return out


def third_parties(
    spec: JobSpec, grounds: Grounds, granted: Callable[[Origin], bool] = lambda origin: False
) -> Iterator[Problem]:
    """One problem for each third party that is an address of a private network, and that neither the operator
    nor an admin (`granted`) has named."""
    if isinstance(spec.third_party, str) or grounds.everything:
        return
    for i, text in enumerate(spec.third_party):
        if not _may_load(OriginPattern.parse(text), grounds, granted):
            yield Problem(
                f"third_party[{i}]",
                f"{text!r} is an address that is not public; write it with scheme and port, and the operator "
                "can add it to allowed_origins in the orchestrator's settings",
            )


def _may_load(pattern: OriginPattern, grounds: Grounds, granted: Callable[[Origin], bool]) -> bool:
    if Origin("http", pattern.host, 80).is_loopback and grounds.loopback_free:
        return True
    address = as_address(pattern.host)
    if address is None or is_public(address):
        return True  # what a name leads to is seen by the runner's gate
    if pattern.scheme is None or pattern.port is None:
        return False
    origin = Origin(pattern.scheme, pattern.host, pattern.port)
    return origin in grounds.allowed or granted(origin)
