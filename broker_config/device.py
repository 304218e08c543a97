"""Device profiles: a device of Playwright's list, and what is to differ from it."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .device_table import DEVICES

MAX_DEVICES = 50

Pixels = Annotated[int, Meta(ge=1, le=16_384)]


class Viewport(msgspec.Struct, frozen=True, kw_only=True):
    """CSS pixels."""

    #: CSS pixels.
    width: Pixels
    #: CSS pixels.
    height: Pixels


class Geolocation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Degrees, and metres of accuracy. The page may read it without asking."""

    #: Degrees.
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    #: Degrees.
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    #: Metres.
    accuracy: Annotated[float, Meta(ge=0)] = 0.0


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slower line, by the browser's own throttling; only in browsers of the Chromium kind."""

    #: Added to each request, ms.
    latency: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    #: Kilobits per second; left out, it is not limited.
    download: Annotated[float, Meta(gt=0)] | None = None
    #: Kilobits per second; left out, it is not limited.
    upload: Annotated[float, Meta(gt=0)] | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a session's browser pretends to be. What is left out is as `device` has it, or the browser."""

    #: A name of Playwright's list.
    device: str | None = None
    #: Name in reports; by default that of the device.
    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    #: Its share of the sessions, beside the other devices.
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    #: Size of the window.
    viewport: Viewport | None = None
    #: Device pixels for one CSS pixel.
    scale: Annotated[float, Meta(gt=0, le=10)] | None = None
    #: Whether it has a touch screen.
    touch: bool | None = None
    #: Whether pages treat it as a phone (the viewport of their `<meta>`); not in Firefox.
    mobile: bool | None = None
    #: A BCP 47 tag such as `de-AT`.
    locale: Annotated[str, Meta(pattern="^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] | None = None
    #: A name such as `Europe/Vienna`.
    timezone: Annotated[str, Meta(pattern="^[A-Za-z0-9_+/-]{1,64}$")] | None = None
    #: Where it is.
    geolocation: Geolocation | None = None
    #: What `prefers-color-scheme` answers.
    colour_scheme: Literal["light", "dark", "no-preference"] | None = None
    #: What `prefers-reduced-motion` answers.
    reduced_motion: bool | None = None
    #: The page's CPU so many times slower; only in browsers of the Chromium kind.
    cpu_throttle: Annotated[float, Meta(ge=1, le=50)] | None = None
    #: A slower line.
    network: Network | None = None

    @property
    def label(self) -> str:
        return self.name or self.device or "own"


def as_devices(given: list[str | Device] | dict[str, float]) -> list[Device]:
    """Devices of a spec in any of its forms."""
    if isinstance(given, dict):
        return [Device(device=name, weight=weight) for name, weight in given.items()]
    return [Device(device=d) if isinstance(d, str) else d for d in given]


def unknown_device(name: str) -> str | None:
    """What is wrong with a device's name, or None: with near matches."""
    if name in DEVICES:
        return None
    lower = {n.lower(): n for n in DEVICES}
    near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, 3, 0.5)]
    hint = f"did you mean {', '.join(near)}?" if near else "`tb profiles list` shows them"
    return f"there is no device {name!r}; {hint}"
