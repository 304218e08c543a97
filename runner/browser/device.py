"""Device profiles in the terms of Playwright and of the browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from playwright.async_api import BrowserContext, Page

from broker_config.device import Device

_CHROMIUM = ("chromium", "chrome", "msedge")


def context_options(device: Device, devices: Mapping[str, Any], browser: str) -> dict[str, Any]:
    """Arguments for `new_context`; `devices` is Playwright's list. `KeyError` where it has no such device.

    The user agent, where the device has one, is Playwright's: see `user_agent`.
    """
    options: dict[str, Any] = {}
    if device.device is not None:
        options |= {k: v for k, v in devices[device.device].items() if k != "default_browser_type"}
    if device.viewport is not None:
        options["viewport"] = {"width": device.viewport.width, "height": device.viewport.height}
    own: dict[str, Any] = {
        "device_scale_factor": device.scale,
        "has_touch": device.touch,
        "is_mobile": device.mobile,
        "locale": device.locale,
        "timezone_id": device.timezone,
        "color_scheme": device.colour_scheme,
    }
    options |= {k: v for k, v in own.items() if v is not None}
    if device.reduced_motion is not None:
        options["reduced_motion"] = "reduce" if device.reduced_motion else "no-preference"
    if (place := device.geolocation) is not None:
        options["geolocation"] = {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "accuracy": place.accuracy,
        }
        options["permissions"] = ["geolocation"]
    if browser == "firefox":
        # Refused there: Firefox has no viewport of phones.
        options.pop("is_mobile", None)
    return options


def user_agent(device_agent: str, own: str) -> str:
    """The device's user agent with the version of the browser that really runs: its client hints tell that.

    `own` is the browser's. Where the device is not of its kind (Safari's in Chromium), it stays as it is.
    """
    version = re.search(r"Chrome/([\d.]+)", own)
    return re.sub(r"Chrome/[\d.]+", version[0], device_agent) if version else device_agent


async def throttle(device: Device, browser: str, context: BrowserContext, page: Page) -> list[str]:
    """Slow the page's CPU and network down; what cannot be done in this browser, in words."""
    wanted = [
        what
        for what, given in (("CPU throttling", device.cpu_throttle), ("network throttling", device.network))
        if given is not None
    ]
    if not wanted:
        return []
    if browser not in _CHROMIUM:
        return [f"{what} is not to be had in {browser}" for what in wanted]
    cdp = await context.new_cdp_session(page)
    if device.cpu_throttle is not None:
        await cdp.send("Emulation.setCPUThrottlingRate", {"rate": device.cpu_throttle})
    if (network := device.network) is not None:
        await cdp.send("Network.enable")
        await cdp.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": network.latency,
                "downloadThroughput": _bytes(network.download),
                "uploadThroughput": _bytes(network.upload),
            },
        )
    return []


def _bytes(kilobits: float | None) -> float:
    """Bytes per second; -1 is no limit."""
    return -1 if kilobits is None else kilobits * 125
