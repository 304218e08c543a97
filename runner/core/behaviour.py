"""What a session does on a page, drawn beforehand: the same seed gives the same plan."""

from __future__ import annotations

import random

import msgspec

from broker_config.job_spec import Behaviour

#: Steps that are drawn; a page that needs more goes through them again.
DRAWN_STEPS = 16
#: Most steps on one page, so that a page which grows for ever comes to an end too.
MAX_STEPS = 200


class ScrollStep(msgspec.Struct, frozen=True):
    """Scroll down by `share` of the window's height, then rest for `rest` seconds."""

    share: float
    rest: float


class BehaviourPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`look` and `dwell` are seconds: before the first scroll step, and after the last. `steps` is empty
    where the page is not scrolled."""

    look: float
    steps: tuple[ScrollStep, ...]
    dwell: float


def plan_behaviour(behaviour: Behaviour, seed: int) -> BehaviourPlan:
    """The plan of the session with this seed (`Dispatch.seed`)."""
    rng = random.Random(seed)
    dwell = rng.uniform(behaviour.dwell.min, behaviour.dwell.max)
    if not behaviour.scroll:
        return BehaviourPlan(look=0.0, steps=(), dwell=dwell)
    look = round(rng.uniform(0.05, 0.15), 3)
    steps = tuple(
        ScrollStep(round(rng.uniform(0.5, 0.9), 3), round(rng.uniform(0.04, 0.12), 3))
        for _ in range(DRAWN_STEPS)
    )
    return BehaviourPlan(look=look, steps=steps, dwell=dwell)
