"""What a session does on its pages, drawn beforehand: the same seed gives the same plan."""

from __future__ import annotations

import random

import msgspec

from broker_config.behaviour import Behaviour, Pages

#: Steps that are drawn; a page that needs more goes through them again.
DRAWN_STEPS = 16
#: Most steps on one page, and most seconds that it is scrolled, so that a page which grows for ever comes to
#: an end too.
MAX_STEPS = 200
MAX_SCROLLING = 24.0
#: Links that are tried on a page, where one cannot be clicked.
DRAWN_PICKS = 5


class ScrollStep(msgspec.Struct, frozen=True):
    """Scroll down by `share` of the window's height, then rest for `rest` seconds."""

    share: float
    rest: float


class PagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One page. `look`, `dwell` and `think` are seconds: before the first scroll step, after the last, and
    before a link is followed. `steps` is empty where the page is not scrolled; `most` bounds their number.

    `follow` says whether a link is followed, `picks` which: positions from 0 to 1 in the list of links.
    """

    look: float
    steps: tuple[ScrollStep, ...]
    dwell: float
    most: int = MAX_STEPS
    follow: bool = False
    think: float = 0.0
    picks: tuple[float, ...] = ()


class BehaviourPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`pages` in the order in which they are read; only the last one follows no link."""

    pages: tuple[PagePlan, ...]


def plan_behaviour(behaviour: Behaviour, seed: int) -> BehaviourPlan:
    """The plan of the session with this seed (`Dispatch.seed`)."""
    rng = random.Random(seed)
    b = behaviour.resolved()
    pages = []
    for n in range(1, b.depth + 1):
        pages.append(_page(b, rng, last=n == b.depth))
        if not pages[-1].follow:
            break
    return BehaviourPlan(pages=tuple(pages))


def _page(b: Pages, rng: random.Random, *, last: bool) -> PagePlan:
    dwell = rng.uniform(b.dwell.min, b.dwell.max)
    look, most = 0.0, MAX_STEPS
    steps: tuple[ScrollStep, ...] = ()
    if b.scroll:
        low, high = b.scroll_rest.min, b.scroll_rest.max
        look = round(rng.uniform(0.05, 0.15), 3)
        steps = tuple(
            ScrollStep(round(rng.uniform(0.5, 0.9), 3), round(rng.uniform(low, high), 3))
            for _ in range(DRAWN_STEPS)
        )
        most = max(1, min(MAX_STEPS, int(MAX_SCROLLING / max((low + high) / 2, 0.001))))
    follow = not last and rng.random() < b.click_ratio
    return PagePlan(
        look=look,
        steps=steps,
        dwell=dwell,
        most=most,
        follow=follow,
        think=rng.uniform(b.think.min, b.think.max) if follow else 0.0,
        picks=tuple(rng.random() for _ in range(DRAWN_PICKS)) if follow else (),
    )
