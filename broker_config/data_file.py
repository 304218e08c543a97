"""Rows of data from a file, where a job is submitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .data import MAX_ROWS, Cell, Row
from .errors import Problem, SpecError
from .side_file import side_file
from .table import csv_lines, xlsx_lines

_MAX_BYTES = 8 << 20


def with_rows(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A job's document with the rows of `data.file` in its place; as it is where there is no file.

    A relative path is looked for in `folder`: that of the document. Raises `SpecError`.
    """
    data = document.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("file"), str):
        return document
    rest = {k: v for k, v in data.items() if k != "file"}
    if rest.get("rows"):
        raise SpecError([Problem("data", "has both file and rows; give one")])
    path = side_file(data["file"], folder, "data.file")
    return document | {"data": rest | {"rows": read_rows(path)}}


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV, JSON or XLSX file; CSV and XLSX have the names of the columns in their first line.

    Raises `SpecError` that names the file and the line.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _wrong(path, "", f"it is larger than {_MAX_BYTES >> 20} MiB")
        match path.suffix.lower():
            case ".csv":
                rows = _csv(path)
            case ".json":
                rows = _json(path)
            case ".xlsx":
                rows = _xlsx(path)
            case suffix:
                raise _wrong(path, "", f"{suffix or 'no ending'} is no known kind; use .csv, .json or .xlsx")
    except UnicodeDecodeError:
        raise _wrong(path, "", "it is not UTF-8 text") from None
    except OSError as e:
        raise _wrong(path, "", e.strerror or str(e)) from None
    if not rows:
        raise _wrong(path, "", "it holds no rows")
    if len(rows) > MAX_ROWS:
        raise _wrong(path, "", f"it holds {len(rows)} rows; at most {MAX_ROWS} are allowed")
    return rows


def _csv(path: Path) -> list[Row]:
    text = path.read_bytes().decode()
    try:
        return _table(path, csv_lines(text))
    except ValueError as e:
        raise _wrong(path, "", str(e)) from None


def _json(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as e:
        raise _wrong(path, f"line {e.lineno}, column {e.colno}", e.msg) from None
    except RecursionError:
        raise _wrong(path, "", "it is nested too deeply") from None
    if not isinstance(rows, list):
        raise _wrong(path, "", "it is not a list of objects")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _wrong(path, f"row {i + 1}", "it is not an object with fields")
        for column, value in row.items():
            if not isinstance(value, str | int | float | bool | None):
                raise _wrong(path, f"row {i + 1}", f"{column!r} is not a single value")
    return rows


def _xlsx(path: Path) -> list[Row]:
    try:
        return _table(path, xlsx_lines(path.read_bytes()))
    except ValueError as e:
        raise _wrong(path, "", str(e)) from None


def _table(path: Path, lines: list[tuple[int, list[Cell]]]) -> list[Row]:
    lines = [(n, line) for n, line in lines if any(c not in ("", None) for c in line)]
    if not lines:
        return []
    (number, head), body = lines[0], lines[1:]
    columns = [str(c if c is not None else "").strip() for c in head]
    if "" in columns or len(set(columns)) < len(columns):
        raise _wrong(path, f"line {number}", "names of columns are empty or stand there twice")
    for number, line in body:
        if len(line) != len(columns):
            raise _wrong(path, f"line {number}", f"has {len(line)} values for {len(columns)} columns")
    return [dict(zip(columns, line, strict=True)) for _, line in body]


def _wrong(path: Path, where: str, what: str) -> SpecError:
    return SpecError([Problem(where, what)], str(path))
