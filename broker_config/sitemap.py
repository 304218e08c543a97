"""Sitemaps (sitemaps.org): a `urlset` of pages, or a `sitemapindex` of other sitemaps."""

from __future__ import annotations

from typing import NamedTuple
from xml.parsers import expat

_KINDS = {"urlset": "url", "sitemapindex": "sitemap"}


class Sitemap(NamedTuple):
    """`places` holds the line and the address of each entry; those of an index are sitemaps themselves."""

    is_index: bool
    places: list[tuple[int, str]]


def read_sitemap(data: bytes) -> Sitemap:
    """Raises `ValueError`. No document type is taken, so that there are no entities to expand or fetch."""
    parser = expat.ParserCreate(namespace_separator=" ")
    path: list[str] = []
    text: list[str] = []
    places: list[tuple[int, str]] = []
    root = ""

    def is_place() -> bool:
        return path[1:] == [_KINDS[root], "loc"]

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal root
        name = name.rpartition(" ")[2]
        if not path:
            root = name
            if root not in _KINDS:
                raise ValueError(f"line {parser.CurrentLineNumber}: <{root}> begins no sitemap")
        path.append(name)
        text.clear()

    def end(name: str) -> None:
        if is_place():
            places.append((parser.CurrentLineNumber, "".join(text).strip()))
        path.pop()

    def characters(piece: str) -> None:
        if is_place():
            text.append(piece)

    def refuse(*_: object) -> None:
        raise ValueError(f"line {parser.CurrentLineNumber}: a document type is not allowed in a sitemap")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as e:
        said = expat.errors.messages.get(e.code, "not XML")
        raise ValueError(f"line {e.lineno}: {expat.ErrorString(e.code) or said}") from None
    return Sitemap(root == "sitemapindex", places)
