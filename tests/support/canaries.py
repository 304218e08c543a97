"""Secrets that give themselves away, wherever they stand and however they are written."""

from __future__ import annotations

import base64
import io
import random
import string
import zipfile
import zlib
from collections.abc import Iterator

#: So much of a canary in a row is found, wherever it was cut.
SEEN = 9
_WINDOW = 7


class Canary:
    """Two words of letters, which nothing escapes, and between them what everything escapes. `value` is the
    whole."""

    def __init__(self, name: str, rng: random.Random, *, plain: bool = False) -> None:
        self.name = name
        self.words = ["".join(rng.choices(string.ascii_lowercase, k=13)) for _ in range(2)]
        self.value = ("_" if plain else ' /"&%ü+').join(self.words)


class Generated:
    """A secret that was made elsewhere, `tb_<id>_<secret>`: its last part alone is secret."""

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value
        self.words = [value.split("_", 2)[2]]  # nothing escapes what it is made of


class Search:
    """What is looked through, and what was found. `add` takes anything that can be read."""

    def __init__(self) -> None:
        self.canaries: list[Canary | Generated] = []
        self.heard: list[tuple[str, bytes]] = []

    def add(self, where: str, data: bytes | str) -> None:
        self.heard.append((where, data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data))

    def found(self) -> list[str]:
        """Where each canary was seen, with what stands around it."""
        patterns = [(c.name, p) for c in self.canaries for w in c.words for p in _written(w)]
        out = []
        for where, data in self.heard:
            for place, plain in _opened(where, data):
                for name, pattern in patterns:
                    at = plain.find(pattern)
                    if at >= 0:
                        out.append(f"{name} in {place}: {plain[max(0, at - 80) : at + 80]!r}")
        return out


def _written(word: str) -> Iterator[bytes]:
    """Pieces, and base64 at each place within three bytes, hexadecimal, and UTF-16."""
    data = word.encode()
    for at in range(0, len(word) - _WINDOW + 1, SEEN - _WINDOW + 1):
        yield data[at : at + _WINDOW]
    for lead in range(3):
        coded = base64.b64encode(bytes(lead) + data)
        yield coded[-(-lead * 8 // 6) : (lead + len(data)) * 8 // 6]
    yield data.hex().encode()
    yield word.encode("utf-16-le")


def _opened(where: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The data, and what is packed in it."""
    yield where, data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for name in packed.namelist():
                yield from _opened(f"{where}/{name}", packed.read(name))
    elif data[:1] == b"x":
        try:
            yield f"{where} (unpacked)", zlib.decompress(data)
        except zlib.error:
            return
