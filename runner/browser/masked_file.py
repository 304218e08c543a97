"""Masking of recorded files, in place. What cannot be read raises, and must not be stored then."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from runner.core.masking import Masker

#: A larger text within a trace is left out: a page's script or data, nothing to see in it.
MAX_TEXT = 16 << 20
#: Where the runner's own code called the browser: paths of its machine, of no use to anyone else.
_STACKS = ".stacks"
_LINES = (".trace", ".network")
#: What requests sent, as its type was declared.
_SENT = (".dat", ".json", ".txt")


def mask_har(path: Path, masker: Masker) -> None:
    """Raises `OSError` and `ValueError`."""
    document = masker.document(json.loads(path.read_bytes()))
    path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def mask_trace(path: Path, masker: Masker | None) -> None:
    """Write a trace anew, masked (not without a masker), and without the runner's own stacks.

    Raises `OSError`, `ValueError` and `zipfile.BadZipFile`.
    """
    fresh = path.with_suffix(".masked")
    try:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                if entry.filename.endswith(_STACKS):
                    continue
                if masker is None:
                    new.writestr(entry, old.read(entry))
                elif entry.filename.endswith(_LINES):
                    with old.open(entry) as lines, new.open(entry.filename, "w") as out:
                        for line in lines:
                            out.write(_line(line, masker))
                else:
                    data = _resource(entry.filename, old.read(entry), masker)
                    if data is not None:
                        new.writestr(entry.filename, data, zipfile.ZIP_DEFLATED)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _line(line: bytes, masker: Masker) -> bytes:
    if not line.strip():
        return line
    document = masker.document(json.loads(line))
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _resource(name: str, data: bytes, masker: Masker) -> bytes | None:
    """A file of the trace: a page, a style sheet, a picture, what a request sent. None: leave it out."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data  # a picture, a font
    if len(data) > MAX_TEXT:
        return None
    return (masker.body(text) if name.endswith(_SENT) else masker.text(text)).encode()
