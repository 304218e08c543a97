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
#: Never text, and too large to be looked through.
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff", ".woff2", ".ttf", ".otf")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


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
    if name.endswith(_PICTURES):
        return data
    if len(data) > MAX_TEXT:
        return None
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if name.endswith(_SENT):
            return None  # packed, perhaps, or encrypted
        encoding = "latin-1"  # what is known of no other; each byte is a character
        text = data.decode(encoding)
    text = masker.body(text) if name.endswith(_SENT) else masker.text(text)
    return text.encode(encoding)
