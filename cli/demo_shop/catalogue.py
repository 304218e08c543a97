"""What the shop sells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Product(NamedTuple):
    """`pence` is the price of one."""

    slug: str
    name: str
    category: str
    pence: int
    line: str
    story: str
    facts: Sequence[str]


PRODUCTS: Sequence[Product] = (
    Product(
        "kettle",
        "Crane kettle",
        "Kitchen",
        5400,
        "A slow pour for a quick morning.",
        "The long neck keeps the stream thin and steady, so that coffee gets the time it wants. "
        "The handle stays cool, the lid stays put, and the bottom sits flat on any hob.",
        ("Enamelled steel, 1.2 litres", "For gas, induction and open fire", "Made in one workshop"),
    ),
    Product(
        "mug",
        "Harbour mug",
        "Kitchen",
        1800,
        "Holds as much tea as a chapter lasts.",
        "Thrown by hand and glazed twice: once for the colour, once for the sea. No two are the same, "
        "and all of them fit the dishwasher.",
        ("Stoneware, 350 millilitres", "Safe in dishwasher and microwave", "Each one is different"),
    ),
    Product(
        "lamp",
        "Lighthouse lamp",
        "Living room",
        8900,
        "Warm light for the last page.",
        "A shade of folded paper on a foot of turned ash. One touch dims it, a second one leaves just "
        "enough to find the door.",
        ("Ash and paper, 42 centimetres", "Warm white, three steps", "Cord of two metres in linen"),
    ),
    Product(
        "blanket",
        "Dune blanket",
        "Living room",
        7600,
        "As heavy as it should be, and no more.",
        "Woven from the wool of island sheep in the colours of the beach after rain. It gets softer every "
        "winter, and does not mind who falls asleep under it.",
        ("Pure new wool, 130 by 180 centimetres", "Woven, washed and brushed", "Mended free of charge"),
    ),
)
BY_SLUG = {product.slug: product for product in PRODUCTS}
CATEGORIES = tuple(dict.fromkeys(product.category for product in PRODUCTS))


def price(pence: int) -> str:
    """`£54.00`"""
    return f"£{pence // 100:,}.{pence % 100:02d}"


def found(query: str) -> list[Product]:
    """The products in which every word of the query occurs; all for an empty query."""
    words = query.lower().split()
    return [
        p for p in PRODUCTS if all(w in f"{p.name} {p.category} {p.line} {p.story}".lower() for w in words)
    ]
