"""Pictures that a session takes: bounded in number and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from playwright.async_api import Locator, Page

from runner.core.outcome import Shot

MAX_SHOTS = 10
MAX_BYTES = 4_000_000


def _nothing(page: Page) -> list[Locator]:
    return []


class Shots:
    """`covered` gives the places of a page that no picture may show."""

    def __init__(self, covered: Callable[[Page], Sequence[Locator]] = _nothing) -> None:
        self.taken: list[Shot] = []
        self._covered = covered

    async def take(self, page: Page, name: str, timeout: float) -> None:
        """A JPEG of what the window shows; beyond the bounds it is dropped. `timeout` in ms."""
        if len(self.taken) < MAX_SHOTS:
            data = await picture(page, self._covered(page), timeout)
            if sum(len(s.jpeg) for s in self.taken) + len(data) <= MAX_BYTES:
                self.taken.append(Shot(name=name, jpeg=data))


async def picture(page: Page, covered: Sequence[Locator], timeout: float) -> bytes:
    """A JPEG of the window, with grey in the place of what is covered. Raises Playwright's `Error`."""
    return await page.screenshot(type="jpeg", quality=70, timeout=timeout, mask=covered, mask_color="#888888")
