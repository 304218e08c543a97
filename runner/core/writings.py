"""How a secret may be written: patterns for all of it, in JSON, scripts, HTML, addresses, base64. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from html.entities import codepoint2name

#: Fewer characters of base64 may stand in any picture.
_MIN_BASE64 = 7
_URL_SAFE = str.maketrans("+/", "-_")
#: A console shows 100 characters of a text within an object: its beginning, "…", and its end. So much
#: of a secret is looked for then.
_END = 12
#: A backslash, in an address too. It stands before what JSON and scripts escape, again within JSON. No more
#: than so many in a row, and never tried with fewer: a text may be full of them.
_ESCAPE = r"(?:\\|%(?:25)*5C)"
_SOME, _ANY = f"{_ESCAPE}{{1,8}}+", f"{_ESCAPE}{{0,8}}+"
_LETTERS = {"\r": "r", "\t": "t"}


def writings(secret: str) -> Iterator[str]:
    """Patterns, each to be tried in this order."""
    # What is escaped has more backslashes, in any number.
    chars = re.sub(r"\\+", r"\\", secret.replace("\r\n", "\n"))
    yield "".join(map(_written, chars))
    if len(chars) > 2 * _END:
        first, last = "".join(map(_written, chars[:_END])), "".join(map(_written, chars[-_END:]))
        yield rf"{first}[^\n…]{{0,100}}…(?:[^\n…]{{0,100}}{last})?"
        yield rf"…[^\n…]{{0,100}}{last}"
    for encoding in ("utf-8", "cp1252"):
        if (data := _encoded(secret, encoding)) is not None:
            yield from map(re.escape, _in_base64(data))


@lru_cache(maxsize=4096)
def _written(char: str) -> str:
    """One character: as it is, or as it is written where it has a meaning of its own."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    if char == "\\":
        return f"(?i:{_ESCAPE}{{1,8}})"
    units = char.encode("utf-16-be")
    named = ["".join(f"{_SOME}u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))]
    if code < 256:
        named.append(f"{_SOME}x{code:02x}")
    if char == "\n":
        named.append(f"(?:{_SOME}r)?{_SOME}n")
    elif char in _LETTERS:
        named.append(f"{_SOME}{_LETTERS[char]}")
    ways = ["apos"] if char == "'" else [codepoint2name[code]] if code in codepoint2name else []
    ways = [rf"&(?:amp;)*{name};" for name in (*ways, f"#0*{code}", f"#x0*{code:x}")]
    coded = [d for e in ("utf-8", "cp1252") if (d := _encoded(char, e)) is not None]
    # A form in an encoding that lacks the character names it as HTML does.
    coded += [f"&#{code};".encode()] if len(coded) == 1 else []
    for data in coded:
        ways.append("".join(chr(b) if chr(b).isdecimal() else f"%(?:25)*{b:02X}" for b in data))
    match char:
        case " ":
            ways += [r"\+", "%(?:25)*2B", " "]
        case "\n":
            ways += ["%(?:25)*0D%(?:25)*0A", r"\r?\n"]
        case _ if char.isascii():
            ways.append(re.escape(char))
        case _:
            # Read in another encoding, or in one that does not have it.
            ways += [re.escape(char.encode().decode("latin-1")), re.escape(char), "\ufffd+"]
    return f"(?i:{'|'.join(named)}|{_ANY}(?:{'|'.join(ways)}))"


def _encoded(text: str, encoding: str) -> bytes | None:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


def _in_base64(data: bytes) -> Iterator[str]:
    """The characters of base64 that depend on these bytes alone, wherever they stand in what is coded."""
    for lead in range(3):
        coded = base64.b64encode(bytes(lead) + data).decode()
        part = coded[-(-lead * 8 // 6) : (lead + len(data)) * 8 // 6]
        if len(part) >= _MIN_BASE64:
            yield from (part, part.translate(_URL_SAFE))
