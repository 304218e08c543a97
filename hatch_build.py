"""Build hook: the wheel names what it was locked with, as CycloneDX in `.dist-info/sboms/` (PEP 770).

`uv` makes the document from `uv.lock`. Without its time and its random number the same lock makes the same
bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "sbom.cdx.json"


class SbomHook(BuildHookInterface):  # type: ignore[type-arg]
    """Of wheels only; an editable installation has the lock itself."""

    PLUGIN_NAME = "custom"
    _directory: str | None = None

    def dependencies(self) -> list[str]:
        return [] if _uv() else ["uv>=0.9"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        lock = Path(self.root, "uv.lock")
        if not lock.is_file():
            raise RuntimeError(f"{lock} is missing; a wheel is built with the lock that it was tested with")
        self._directory = tempfile.mkdtemp(prefix="sbom-")
        path = Path(self._directory, NAME)
        path.write_bytes(sbom(Path(self.root), lock.read_bytes()))
        build_data["sbom_files"].append(str(path))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def sbom(root: Path, lock: bytes) -> bytes:
    """The document: every locked package that a user can get, with the hashes of its files."""
    command = [
        _uv() or str(Path(sys.executable).with_name("uv")),
        *("export", "--frozen", "--no-dev", "--all-extras", "--quiet", "--directory", str(root)),
        *("--format", "cyclonedx1.5", "--preview-features", "sbom-export"),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} export: {done.stderr.decode(errors='replace').strip()}")
    document = json.loads(done.stdout)
    document["metadata"].pop("timestamp", None)
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(lock).digest()[:16], version=4)}"
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _uv() -> str | None:
    # uv tells those that it starts where it is.
    return os.environ.get("UV") or shutil.which("uv")
