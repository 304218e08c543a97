from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from runner.browser import ffmpeg

FILE = {"win32": "ffmpeg-win64.exe", "darwin": "ffmpeg-mac"}.get(sys.platform, "ffmpeg-linux")


def a_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine on which nothing is installed."""
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


def stands_in(made: dict[str, str] | None) -> Path:
    """The program that the driver finds."""
    assert made is not None
    (found,) = Path(made["PLAYWRIGHT_BROWSERS_PATH"]).glob(f"ffmpeg-*/{FILE}")
    return found.resolve()


def test_the_one_that_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    named = a_program(tmp_path / "mine" / "ff")
    a_program(tmp_path / "bin" / "ffmpeg")
    assert stands_in(ffmpeg.environment(tmp_path, environ | {"TB_FFMPEG": str(named)})) == named


def test_the_one_on_the_path(tmp_path: Path, environ: dict[str, str]) -> None:
    there = a_program(tmp_path / "bin" / "ffmpeg")
    assert stands_in(ffmpeg.environment(tmp_path, environ)) == there


def test_the_one_of_the_package(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "imageio_ffmpeg" in str(stands_in(ffmpeg.environment(tmp_path, environ)))


def test_playwrights_own_is_left_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    stands_in(ffmpeg.environment(tmp_path / "first", environ))
    (folder,) = (tmp_path / "first" / "programs").iterdir()
    own = tmp_path / "own"
    a_program(own / folder.name / FILE)
    made = ffmpeg.environment(tmp_path / "second", environ | {"PLAYWRIGHT_BROWSERS_PATH": str(own)})
    assert made == {}


def test_one_that_is_named_and_not_there_is_none(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ffmpeg.environment(tmp_path, environ | {"TB_FFMPEG": "/nowhere"}) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ffmpeg.environment(tmp_path, environ) is None
