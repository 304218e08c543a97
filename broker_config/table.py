"""The lines of a CSV text or of a workbook's first sheet, each with its number."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import Any

from .data import Cell

_DELIMITERS = (",", ";", "\t")
#: Of a workbook, unpacked.
_MAX_BYTES = 128 << 20


def csv_lines(text: str) -> list[tuple[int, list[Cell]]]:
    """Lines whose delimiter is the comma, semicolon or tab that the first one has most of.

    Raises `ValueError` that begins with `line <n>: `.
    """
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=first.count), strict=True
    )
    try:
        return [(reader.line_num, list[Cell](line)) for line in reader]
    except csv.Error as e:
        raise ValueError(f"line {reader.line_num}: {e}") from None


def xlsx_lines(data: bytes) -> list[tuple[int, list[Cell]]]:
    """Lines of the first sheet; whole numbers are whole. `ValueError` where it is no workbook."""
    from python_calamine import CalamineWorkbook

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            if sum(part.file_size for part in parts.infolist()) > _MAX_BYTES:
                raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB unpacked")
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
        rows = sheet.to_python()
        first = sheet.start[0] + 1 if sheet.start else 1
    except Exception as e:  # the library's errors have no common type
        raise ValueError(f"it is not a readable workbook: {e}") from None
    return [(n, [_cell(c) for c in line]) for n, line in enumerate(rows, first)]


def _cell(value: Any) -> Cell:
    # A workbook's numbers are all floats: 7.0 was written as 7.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
