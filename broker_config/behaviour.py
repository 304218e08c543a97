"""Behaviour: what a session does on the pages that it reads, when no journey says it step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .duration_range import DurationRange

MAX_DEPTH = 20

Preset = Literal["reader", "bounce", "explorer", "soak"]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a session does on a page: it scrolls to the end in steps, dwells, and may follow a link.

    A field that is left out is as the preset has it; without a preset, a session opens one page, scrolls to
    its end and leaves.
    """

    #: A name for a set of values, by what it tests: `reader`, `bounce`, `explorer`, `soak`.
    preset: Preset | None = None
    #: Time on each page after it has loaded; drawn evenly between min and max.
    dwell: DurationRange | None = None
    #: Scroll to the end of each page, in steps of 50 to 90 % of the window.
    scroll: bool | None = None
    #: Rest after each scroll step.
    scroll_rest: DurationRange | None = None
    #: Probability, 0 to 1, that a random visible link of the same origin is followed from a page.
    click_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    #: Most pages of a session, the first one included.
    depth: Annotated[int, Meta(ge=1, le=MAX_DEPTH)] | None = None
    #: Time before a link is followed, and before each step of a journey.
    think: DurationRange | None = None
    #: Words beside the built-in ones; a link that has one in its text, label or address is never followed.
    deny: Annotated[list[Annotated[str, Meta(min_length=2, max_length=64)]], Meta(max_length=50)] = []

    def resolved(self) -> Pages:
        """All values, those of the preset included."""
        base = PRESETS[self.preset] if self.preset else PLAIN
        mine = {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(base, **mine)


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """A behaviour with nothing left open."""

    dwell: DurationRange
    scroll: bool
    scroll_rest: DurationRange
    click_ratio: float
    depth: int
    think: DurationRange

    @property
    def longest(self) -> float:
        """Seconds that dwelling and thinking take at most."""
        pages = self.depth if self.click_ratio else 1
        return self.dwell.max * pages + self.think.max * (pages - 1)


_FIELDS = Pages.__struct_fields__


def _seconds(low: float, high: float) -> DurationRange:
    return DurationRange(low, high)


#: Without a preset.
PLAIN = Pages(
    dwell=_seconds(0, 0),
    scroll=True,
    scroll_rest=_seconds(0.04, 0.12),
    click_ratio=0.0,
    depth=1,
    think=_seconds(0, 0),
)
PRESETS: Mapping[Preset, Pages] = {
    # A visitor who reads what he finds: some pages, with time for each.
    "reader": Pages(
        dwell=_seconds(2, 8),
        scroll=True,
        scroll_rest=_seconds(0.2, 0.8),
        click_ratio=0.5,
        depth=3,
        think=_seconds(0.5, 2),
    ),
    # One who leaves at once: entry pages and their caches.
    "bounce": Pages(
        dwell=_seconds(0.5, 2),
        scroll=False,
        scroll_rest=_seconds(0.04, 0.12),
        click_ratio=0.0,
        depth=1,
        think=_seconds(0, 0),
    ),
    # One who goes through many pages quickly: breadth, broken links.
    "explorer": Pages(
        dwell=_seconds(0.5, 3),
        scroll=True,
        scroll_rest=_seconds(0.1, 0.3),
        click_ratio=1.0,
        depth=8,
        think=_seconds(0.2, 1),
    ),
    # One who stays: leaks, timers, polling, open connections.
    "soak": Pages(
        dwell=_seconds(20, 40),
        scroll=True,
        scroll_rest=_seconds(0.3, 1.2),
        click_ratio=0.2,
        depth=2,
        think=_seconds(1, 3),
    ),
}
