"""Words of sites, runners and users, as a terminal may get them."""

from __future__ import annotations

import re

#: Characters that a terminal obeys instead of showing them, and those that turn the order of text around.
_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """`text` with nothing in it that commands a terminal."""
    return _ORDERS.sub("\N{REPLACEMENT CHARACTER}", text)
