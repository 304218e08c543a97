"""Writes `broker_config/device_table.py` from Playwright's list.

python -m tests.support.device_table
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

import broker_config
from broker_config.device_table import DeviceFacts

HEAD = '''"""Playwright's devices, as data: who checks a spec or chooses a device need not have Playwright.

Generated: `python -m tests.support.device_table`. A test compares it with Playwright's own.
"""

from __future__ import annotations

from typing import NamedTuple


class DeviceFacts(NamedTuple):
    """`width` and `height` are those of the viewport in CSS pixels; `scale` is device pixels for one of them.
    `browser` is the kind that the device has in reality; sessions run in the browser of their platform."""

    width: int
    height: int
    scale: float
    mobile: bool
    touch: bool
    browser: str


DEVICES: dict[str, DeviceFacts] = {
'''


def facts(descriptor: dict[str, Any]) -> DeviceFacts:
    """What the table keeps of one of Playwright's descriptors."""
    view = descriptor["viewport"]
    return DeviceFacts(
        view["width"],
        view["height"],
        float(descriptor["device_scale_factor"]),
        descriptor["is_mobile"],
        descriptor["has_touch"],
        descriptor["default_browser_type"],
    )


async def main() -> None:
    async with async_playwright() as playwright:
        found = {name: facts(playwright.devices[name]) for name in sorted(playwright.devices)}
    lines = "".join(
        f"    {json.dumps(name, ensure_ascii=False)}: DeviceFacts("
        f'{f.width}, {f.height}, {f.scale!r}, {f.mobile}, {f.touch}, "{f.browser}"),\n'
        for name, f in found.items()
    )
    (Path(broker_config.__path__[0]) / "device_table.py").write_text(f"{HEAD}{lines}}}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
