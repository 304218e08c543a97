"""The cart: it travels in a cookie, so that the shop remembers nobody."""

from __future__ import annotations

from collections.abc import Mapping

from .catalogue import BY_SLUG

#: More of one product than this is not taken.
MOST = 20


class Cart:
    """Products and how many of each."""

    def __init__(self, items: Mapping[str, int] | None = None) -> None:
        self.items: dict[str, int] = {}
        for slug, count in (items or {}).items():
            self.set(slug, count)

    @classmethod
    def read(cls, text: str) -> Cart:
        """From `mug-2.lamp-1`; what makes no sense is left out."""
        cart = cls()
        for part in text[:200].split("."):
            slug, _, count = part.partition("-")
            cart.set(slug, number(count))
        return cart

    def __str__(self) -> str:
        return ".".join(f"{slug}-{count}" for slug, count in self.items.items())

    def set(self, slug: str, count: int) -> None:
        if slug not in BY_SLUG:
            return
        if count > 0:
            self.items[slug] = min(count, MOST)
        else:
            self.items.pop(slug, None)

    def add(self, slug: str, count: int) -> None:
        self.set(slug, self.items.get(slug, 0) + max(0, count))

    @property
    def count(self) -> int:
        return sum(self.items.values())

    @property
    def pence(self) -> int:
        return sum(BY_SLUG[slug].pence * count for slug, count in self.items.items())


def number(text: str) -> int:
    """What a visitor wrote for a count; 0 where it is no count."""
    return int(text) if len(text) <= 4 and text.isascii() and text.isdecimal() else 0
