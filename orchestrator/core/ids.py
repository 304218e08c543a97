"""Job ids: 14 characters that sort by time of submission."""

from __future__ import annotations

# Crockford's base 32, lower case: no letters that look like digits.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def job_id(now: float, random: int) -> str:
    """`j`, 9 characters of milliseconds since 1970, 4 of `random` (its low 20 bits)."""
    return "j" + _base32(int(now * 1000), 9) + _base32(random & 0xFFFFF, 4)


def _base32(value: int, width: int) -> str:
    out = ""
    for _ in range(width):
        value, digit = divmod(value, 32)
        out = _ALPHABET[digit] + out
    return out
