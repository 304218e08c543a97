"""Pictures that a session takes: bounded in number and size."""

from __future__ import annotations

from playwright.async_api import Page

from runner.core.outcome import Shot

MAX_SHOTS = 10
MAX_BYTES = 4_000_000


class Shots:
    def __init__(self) -> None:
        self.taken: list[Shot] = []

    async def take(self, page: Page, name: str, timeout: float) -> None:
        """A JPEG of what the window shows; beyond the bounds it is dropped. `timeout` in ms."""
        if len(self.taken) < MAX_SHOTS:
            data = await page.screenshot(type="jpeg", quality=70, timeout=timeout)
            if sum(len(s.jpeg) for s in self.taken) + len(data) <= MAX_BYTES:
                self.taken.append(Shot(name=name, jpeg=data))
