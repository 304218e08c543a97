"""Declarative journeys: the steps of a session, as a user writes them.

    journey:
      steps:
        - goto: /cart
        - click: {role: button, name: "Check out"}
        - fill: {label: Email, value: "${user.email}"}
        - click: "#pay"
          name: pay
          timeout: 5s
        - expect: {text: "Thank you"}

A step has one action, and beside it `name`, `timeout` and `optional`. `${…}` stands for a value of the
session's row of data, or one of `BUILT_IN`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .duration import Duration
from .duration_range import DurationRange

MAX_STEPS = 100
MAX_NAME = 64

Text = Annotated[str, Meta(min_length=1, max_length=2000)]
#: What stands in `${…}` without a row of data.
BUILT_IN = ("session", "attempt", "job", "target", "url")


class Locator(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where on the page: by role (and accessible name), label, test id or CSS, or by text.

    `text` beside one of the others keeps those that contain it.
    """

    #: ARIA role, such as `button` or `link`.
    role: Text | None = None
    #: Accessible name; only with `role`.
    name: Text | None = None
    #: Label of a field.
    label: Text | None = None
    #: Value of `data-testid`.
    test_id: Text | None = None
    #: A CSS selector.
    css: Text | None = None
    #: Text that it holds.
    text: Text | None = None
    #: Name, label or text must be equal, case included; else they need only contain what is given.
    exact: bool = False
    #: Which of several: 0 is the first, -1 the last. Without it there must be but one.
    nth: int | None = None

    @property
    def kinds(self) -> list[str]:
        """Which of `role`, `label`, `test_id` and `css` are given; one at most is right."""
        return [k for k in ("role", "label", "test_id", "css") if getattr(self, k) is not None]

    @property
    def is_empty(self) -> bool:
        return not self.kinds and self.text is None

    def __str__(self) -> str:
        parts = []
        if self.role is not None:
            parts.append(f'{self.role} "{self.name}"' if self.name else self.role)
        if self.label is not None:
            parts.append(f'label "{self.label}"')
        if self.test_id is not None:
            parts.append(f"test id {self.test_id}")
        if self.css is not None:
            parts.append(self.css)
        if self.text is not None:
            parts.append(f'text "{self.text}"')
        if self.nth is not None:
            parts.append(f"number {self.nth}")
        return " ".join(parts)


class Fill(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Replaces the content of a field. The value is never logged or reported."""

    #: What is typed; often `${…}`.
    value: Annotated[str, Meta(max_length=10_000)]


class Select(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Chooses in a `<select>`, by value or by what the user reads."""

    #: Value or text of the option, or a list of them.
    option: Text | Annotated[list[Text], Meta(min_length=1, max_length=50)]


class Check(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Ticks a box or radio button; `checked: false` takes the tick away."""

    #: False takes the tick away.
    checked: bool = True


class Press(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Presses a key such as `Enter` or `Control+A`, at the place or else where the focus is."""

    #: Such as `Enter` or `Control+A`.
    key: Annotated[str, Meta(min_length=1, max_length=50)]


class WaitFor(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Waits for a state of the place, or for an address."""

    #: What is waited for.
    state: Literal["visible", "hidden", "attached", "detached"] = "visible"
    #: The page's address; `**` stands for anything, `*` for anything but a slash.
    url: Text | None = None


class Expect(Locator, frozen=True, kw_only=True, omit_defaults=True):
    """Waits until it holds, and fails when it does not within the time-out. All that is given must hold."""

    #: How the place must be.
    state: Literal["visible", "hidden"] = "visible"
    #: So many places fit.
    count: Annotated[int, Meta(ge=0)] | None = None
    #: Content of the field.
    value: Annotated[str, Meta(max_length=10_000)] | None = None
    #: The page's address; `**` stands for anything, `*` for anything but a slash.
    url: Text | None = None
    #: The page's title contains this.
    title: Text | None = None


ACTIONS = (
    "goto",
    "click",
    "fill",
    "select",
    "check",
    "press",
    "hover",
    "scroll",
    "wait_for",
    "expect",
    "screenshot",
    "dwell",
    "pause",
)


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step: exactly one of the actions. Text in place of a locator is a CSS selector."""

    #: Opens an address, absolute or relative to the page; only origins of the job's targets.
    goto: Text | None = None
    #: Clicks with the mouse.
    click: Locator | Text | None = None
    #: Replaces the content of a field.
    fill: Fill | None = None
    #: Chooses in a `<select>`.
    select: Select | None = None
    #: Ticks a box or radio button.
    check: Check | Text | None = None
    #: Presses a key; text is the key.
    press: Press | Text | None = None
    #: Moves the mouse there.
    hover: Locator | Text | None = None
    #: In steps to the `top` or `bottom`; by so many pixels; or until the place is in view.
    scroll: Literal["top", "bottom"] | int | Locator | None = None
    #: Waits for a state of a place, or for an address.
    wait_for: WaitFor | Text | None = None
    #: Checks something; the step fails where it does not come true in time.
    expect: Expect | None = None
    #: Takes a picture of that name.
    screenshot: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    #: Stays on the page, for a time drawn from the range.
    dwell: DurationRange | None = None
    #: Waits for exactly that time.
    pause: Duration | None = None
    #: Name in reports and thresholds; by default what the step does.
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)] | None = None
    #: How long it may take. By default `journey.timeout`, for `goto` `limits.navigation`.
    timeout: Duration | None = None
    #: Its failure is reported, but does not end the session.
    optional: bool = False

    @property
    def actions(self) -> list[str]:
        """The actions that are given; one is right."""
        return [a for a in ACTIONS if getattr(self, a) is not None]

    @property
    def action(self) -> tuple[str, Any]:
        """The action and its argument, short forms written out."""
        name = self.actions[0]
        argument = getattr(self, name)
        if isinstance(argument, str):
            match name:
                case "click" | "hover":
                    argument = Locator(css=argument)
                case "check":
                    argument = Check(css=argument)
                case "wait_for":
                    argument = WaitFor(css=argument)
                case "press":
                    argument = Press(key=argument)
        return name, argument

    @property
    def deed(self) -> str:
        """What it does, in words: `click button "Pay"`."""
        name, argument = self.action
        match argument:
            case Press():
                return f"press {argument.key}" + ("" if argument.is_empty else f" in {argument}")
            case Select():
                return f"select in {argument}"
            case Check(checked=False):
                return f"uncheck {argument}"
            case WaitFor(url=str(url)):
                return f"wait for address {url}"
            case WaitFor(state=state):
                return f"wait for {argument}" + ("" if state == "visible" else f" {state}")
            case Expect():
                seen = [str(argument)] if not argument.is_empty else []
                said = {k: getattr(argument, k) for k in ("url", "title", "count")}
                seen += [f"{k} {v}" for k, v in said.items() if v is not None]
                seen += ["hidden"] if argument.state == "hidden" else []
                return f"expect {' '.join(seen)}"
            case int() if name == "scroll":
                return f"scroll by {argument}"
            case _:
                return f"{name} {argument}"

    @property
    def label(self) -> str:
        """Its name in reports."""
        return self.name or (self.deed if len(self.deed) <= MAX_NAME else self.deed[: MAX_NAME - 1] + "…")


class Journey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The session opens its target, takes the steps, and leaves. Where the first step is a `goto`, that opens
    the page instead."""

    #: One after another.
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS)]
    #: For steps that have none of their own.
    timeout: Duration = msgspec.field(default_factory=lambda: Duration(10))
