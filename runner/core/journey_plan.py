"""A journey made ready for one session: its values filled in, its times drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from broker_config import codec, variables
from broker_config.behaviour import Behaviour
from broker_config.journey import Step
from broker_config.messages import Dispatch
from broker_config.origin import Origin


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """`name` and `deed` are as in the spec, without the session's values: those may be secret. `argument` is
    the action's, filled in. Times are seconds: `think` before the step, `stay` of a dwell or pause."""

    number: int
    name: str
    deed: str
    action: str
    argument: Any
    timeout: float
    optional: bool = False
    think: float = 0.0
    stay: float = 0.0

    def __str__(self) -> str:
        named = f'"{self.name}" ({self.deed})' if self.name != self.deed else self.deed
        return f"step {self.number}, {named}"


def plan_journey(dispatch: Dispatch) -> list[PlannedStep]:
    """The steps of the session. `KeyError` names a variable that has no value."""
    journey = dispatch.journey
    if journey is None:
        return []
    rng = random.Random(dispatch.seed)
    think = dispatch.behaviour.resolved().think if dispatch.behaviour != Behaviour() else None
    values = values_of(dispatch)
    out = []
    for number, step in enumerate(journey.steps, 1):
        action, argument = _filled(step, values).action
        default = dispatch.limits.navigation if action == "goto" else journey.timeout
        stay = 0.0
        if action == "dwell":
            stay = rng.uniform(argument.min, argument.max)
        elif action == "pause":
            stay = float(argument)
        out.append(
            PlannedStep(
                number=number,
                name=step.label,
                deed=step.deed,
                action=action,
                argument=argument,
                timeout=float(default if step.timeout is None else step.timeout),
                optional=step.optional,
                think=rng.uniform(think.min, think.max) if think and number > 1 else 0.0,
                stay=stay,
            )
        )
    return out


def values_of(dispatch: Dispatch) -> dict[str, object]:
    """What `${…}` stands for in this session, by name."""
    return {
        "session": dispatch.session,
        "attempt": dispatch.attempt,
        "job": dispatch.job,
        "target": dispatch.target,
        "url": dispatch.url,
        **dispatch.variables,
    }


def may_go(url: str, dispatch: Dispatch) -> bool:
    """Whether a `goto` may open the address: only origins of the job's targets."""
    try:
        origin = str(Origin.of(url))
    except ValueError:
        return False
    return origin == str(Origin.of(dispatch.url)) or origin in dispatch.origins


def _filled(step: Step, values: Mapping[str, object]) -> Step:
    raw = codec.to_builtins(step)
    if not any("${" in text for _, text in variables.texts(raw)):
        return step
    return msgspec.convert(_fill(raw, values), Step, dec_hook=codec.dec_hook)


def _fill(raw: Any, values: Mapping[str, object]) -> Any:
    if isinstance(raw, str):
        return variables.filled(raw, values)
    if isinstance(raw, dict):
        return {k: _fill(v, values) if k != "name" or "role" in raw else v for k, v in raw.items()}
    if isinstance(raw, list):
        return [_fill(v, values) for v in raw]
    return raw
