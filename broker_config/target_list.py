"""Targets in bulk: TXT, CSV, XLSX, sitemap.xml; also packed (`.gz`). Pure: the bytes are given.

TXT is one URL a line; what follows a `#` at the beginning or after a space is a remark. CSV and XLSX have the
names of their columns in the first line: `url`, and where wanted `name`, `sessions` and `share`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from .data import Cell
from .errors import Problem, SpecError
from .expectation import in_words
from .job_spec import MAX_TARGETS, Target
from .origin import Origin
from .sitemap import read_sitemap
from .table import csv_lines, xlsx_lines

KINDS = ".txt, .csv, .xlsx or .xml (a sitemap), also with .gz"
#: Of one file, unpacked.
MAX_BYTES = 64 << 20
_COLUMNS = ("url", "name", "sessions", "share")

Row = dict[str, Any]


class Entry(NamedTuple):
    """A row of a list: `url` and what else it says, not yet checked; `wrong` where it is no row at all."""

    line: int
    row: Row
    wrong: str = ""


class TargetFile(NamedTuple):
    """`entries` are the file's targets; `sitemaps` are the places of other sitemaps, where it is an index of
    such."""

    entries: list[Entry]
    sitemaps: Sequence[Entry] = ()


class TargetList(NamedTuple):
    """`rows` are targets as a spec has them; `bad` says which lines were left out and why."""

    rows: list[Row]
    bad: list[Problem]


def parse(data: bytes, name: str) -> TargetFile:
    """What a file holds, by the ending of its name; one without a known ending must be from the web, where
    the content tells. Raises `SpecError` that names the file and the line."""
    try:
        data = unpacked(data)
        match _kind(name, data):
            case ".txt":
                return TargetFile(list(_lines(_text(data))))
            case ".csv":
                return TargetFile(list(_table(csv_lines(_text(data)))))
            case ".xlsx":
                return TargetFile(list(_table(xlsx_lines(data))))
            case _:
                found = read_sitemap(data)
                entries = [Entry(line, {"url": loc}) for line, loc in found.places]
                return TargetFile([], entries) if found.is_index else TargetFile(entries)
    except ValueError as e:
        raise SpecError([Problem("", str(e))], name) from None


def checked(files: list[tuple[str, list[Entry]]]) -> TargetList:
    """The targets of all files, each once. Raises `SpecError` where there are too many."""
    several = len(files) > 1
    rows: list[Row] = []
    bad: list[Problem] = []
    urls: dict[str, str] = {}
    names: dict[str, str] = {}
    for file, entries in files:
        for line, row, wrong in entries:
            where = f"{file}, line {line}" if several else f"line {line}"
            try:
                key = _check(row, wrong)
            except ValueError as e:
                bad.append(Problem(where, str(e)))
                continue
            label = row.get("name") or row["url"]
            if key in urls:
                bad.append(Problem(where, f"{row['url']} stands in {urls[key]} too"))
            elif label in names:
                bad.append(Problem(where, f"the name {label!r} stands in {names[label]} too"))
            else:
                urls[key] = names[label] = where
                rows.append(row)
    if len(rows) > MAX_TARGETS:
        raise SpecError([Problem("", f"{len(rows)} targets; at most {MAX_TARGETS} are allowed")], files[0][0])
    return TargetList(rows, bad)


def unpacked(data: bytes) -> bytes:
    """`data`, or what is in it where it is packed by gzip. `ValueError` if it is damaged or too large."""
    if data[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        try:
            data = stream.decompress(data, MAX_BYTES + 1)
        except zlib.error as e:
            raise ValueError(f"it cannot be unpacked: {e}") from None
        if not stream.eof and len(data) <= MAX_BYTES:
            raise ValueError("it cannot be unpacked: its end is missing")
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    return data


def _kind(name: str, data: bytes) -> str:
    on_web = "://" in name
    path = urlsplit(name).path if on_web else name
    suffix = PurePath(path.lower().removesuffix(".gz")).suffix
    if suffix in (".txt", ".csv", ".xlsx", ".xml"):
        return suffix
    if not on_web:
        raise ValueError(f"{suffix or 'no ending'} is no known kind; use {KINDS}")
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    return ".xml" if start.startswith(b"<") else ".txt"


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            rest = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
            yield Entry(number, {"url": " ".join(words[:rest])})


def _table(lines: list[tuple[int, list[Cell]]]) -> Iterator[Entry]:
    lines = [(n, line) for n, line in lines if any(c not in ("", None) for c in line)]
    if not lines:
        return
    number, head = lines[0]
    columns = [str(c if c is not None else "").strip().lower() for c in head]
    while columns and not columns[-1]:
        columns.pop()
    unknown = [c for c in columns if c not in _COLUMNS]
    if unknown or "url" not in columns:
        what = f"there is no column {unknown[0]!r}" if unknown else "there is no column url"
        raise ValueError(f"line {number}: {what}; the first line names them: {', '.join(_COLUMNS)}")
    if len(set(columns)) < len(columns):
        raise ValueError(f"line {number}: a column stands there twice")
    for number, line in lines[1:]:
        cells = [c.strip() if isinstance(c, str) else c for c in line]
        row = {k: v for k, v in zip(columns, cells, strict=False) if v not in ("", None)}
        more = any(c not in ("", None) for c in cells[len(columns) :])
        yield Entry(number, row, f"has {len(cells)} values for {len(columns)} columns" if more else "")


def _check(row: Row, wrong: str) -> str:
    """Bring numbers into shape; what tells this target from others. `ValueError` says what is wrong."""
    if wrong:
        raise ValueError(wrong)
    url = row.get("url")
    if url is None:
        raise ValueError("there is no url")
    if not isinstance(url, str):
        raise ValueError(f"{url!r} is not a URL")
    origin = Origin.of(url)
    parts = urlsplit(url)
    if parts.username is not None:
        raise ValueError("a user name or password in a URL is not allowed")
    for name, kind in (("sessions", int), ("share", float)):
        if isinstance(text := row.get(name), str):
            try:
                row[name] = kind(text)
            except ValueError:
                raise ValueError(f"{name} {text!r} is not a number") from None
    if "name" in row:
        row["name"] = str(row["name"])
    try:
        msgspec.convert(row, Target)
    except msgspec.ValidationError as e:
        what, _, where = str(e).partition(" - at `$.")
        raise ValueError(f"{where.rstrip('`')}: {in_words(what)}") from None
    return f"{origin}{parts.path or '/'}?{parts.query}#{parts.fragment}"
