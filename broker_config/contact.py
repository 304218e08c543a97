"""The public contact address: whom to ask about traffic. Each request tells it: it has to fit a header."""

from __future__ import annotations

import re

from .errors import SettingsError

#: No space, and nothing that ends a comment or a parameter of a user agent.
_FORM = re.compile(r"(https?://|mailto:)[A-Za-z0-9._~:/?#@!$&'*+,=%-]{3,200}")


def is_contact(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def check_contact(text: str) -> str:
    """The text itself; empty is none. Raises `SettingsError`."""
    if text and not is_contact(text):
        raise SettingsError(
            f"contact {text[:100]!r} cannot be told in requests; write an address such as "
            "https://example.com/traffic or mailto:traffic@example.com"
        )
    return text
