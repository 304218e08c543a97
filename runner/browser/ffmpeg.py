"""The program that makes videos. Playwright takes its own alone; here any other can stand in its place."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import playwright

from .finder import downloads, is_program

#: Names a program.
VARIABLE = "TB_FFMPEG"
_NAMES = {"win32": "ffmpeg-win64.exe", "darwin": "ffmpeg-mac"}


def environment(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Variables with which Playwright's driver finds a program, which may be put into `folder`; None where
    there is none on this machine."""
    package = Path(playwright.__file__).parent / "driver" / "package"
    name = _NAMES.get(sys.platform, "ffmpeg-linux")
    try:
        listed = json.loads((package / "browsers.json").read_text())["browsers"]
        place = next(f"ffmpeg-{b['revision']}" for b in listed if b["name"] == "ffmpeg")
    except (OSError, ValueError, KeyError, StopIteration):
        return None
    if is_program(downloads(environ, package) / place / name):
        return {}
    found = _elsewhere(environ)
    if found is None:
        return None
    # Browsers are started by their paths: nothing else is looked for where this points to.
    own = folder / "programs" / place
    own.mkdir(parents=True)
    try:
        (own / name).symlink_to(found)
    except OSError:
        shutil.copy(found, own / name)
    return {"PLAYWRIGHT_BROWSERS_PATH": str(folder / "programs")}


def _elsewhere(environ: Mapping[str, str]) -> Path | None:
    """As told; on the path; in the package `imageio-ffmpeg`."""
    if told := environ.get(VARIABLE):
        return path if is_program(path := Path(told).expanduser().absolute()) else None
    if there := shutil.which("ffmpeg", path=environ.get("PATH")):
        return Path(there)
    try:
        spec = importlib.util.find_spec("imageio_ffmpeg")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(place).glob("binaries/ffmpeg-*")):
            if is_program(path):
                return path
    return None
