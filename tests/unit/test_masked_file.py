from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from runner.browser.masked_file import mask_trace
from runner.core.masking import Masker

SECRET = "hünter2222"
PICTURE = b"\x89PNG\r\n\x1a\n\xff hunter \x00"


def masked(folder: Path, name: str, data: bytes) -> bytes | None:
    """What becomes of a file of a trace."""
    path = folder / "trace.zip"
    with zipfile.ZipFile(path, "w") as trace:
        trace.writestr(f"resources/{name}", data)
    mask_trace(path, Masker([SECRET]))
    with zipfile.ZipFile(path) as trace:
        return trace.read(f"resources/{name}") if trace.namelist() else None


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_pages_are_masked_in_the_encoding_that_they_have(tmp_path: Path, encoding: str) -> None:
    found = masked(tmp_path, "a.html", f"Grüße, {SECRET}!".encode(encoding))
    assert found is not None
    assert found.decode(encoding) == "Grüße, ***!"


def test_pictures_stay_as_they_are(tmp_path: Path) -> None:
    assert masked(tmp_path, "a.png", PICTURE) == PICTURE


@pytest.mark.parametrize("name", ["a.dat", "a.json", "a.txt"])
def test_what_was_sent_packed_is_left_out(tmp_path: Path, name: str) -> None:
    assert masked(tmp_path, name, b"\x1f\x8b\x08\x00\xff\xfe") is None
