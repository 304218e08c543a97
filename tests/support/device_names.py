"""Writes `broker_config/device_names.py` from Playwright's list.

python -m tests.support.device_names
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from playwright.async_api import async_playwright

import broker_config

HEAD = '''"""Names of Playwright's devices, as data: who checks a spec need not have Playwright.

Generated: `python -m tests.support.device_names`. A test compares it with Playwright's own.
"""

from __future__ import annotations

DEVICE_NAMES: tuple[str, ...] = (
'''


async def main() -> None:
    async with async_playwright() as playwright:
        names = sorted(playwright.devices)
    lines = "".join(f"    {json.dumps(name, ensure_ascii=False)},\n" for name in names)
    (Path(broker_config.__path__[0]) / "device_names.py").write_text(f"{HEAD}{lines})\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
