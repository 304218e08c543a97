"""What an installation is made of: locked with hashes, named in the wheel, asked about in CI."""

from __future__ import annotations

import asyncio
import json
import runpy
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text())
PACKAGES = {p["name"]: p for p in LOCK["package"]}
verdict = runpy.run_path(str(ROOT / ".ci" / "advisories.py"))["verdict"]


def runtime() -> set[str]:
    """The packages that a user can get by installing this one with all its extras."""
    own = PACKAGES["trafficbuster"]
    waiting = [*own["dependencies"], *(d for ds in own["optional-dependencies"].values() for d in ds)]
    found: set[str] = set()
    while waiting:
        needed = waiting.pop()
        if needed["name"] in found:
            continue
        found.add(needed["name"])
        package = PACKAGES[needed["name"]]
        waiting += package.get("dependencies", [])
        for extra in needed.get("extra", []):
            waiting += package["optional-dependencies"][extra]
    return found


def test_every_file_in_the_lock_has_a_hash() -> None:
    assert len(PACKAGES) > 50
    for name, package in PACKAGES.items():
        if name == "trafficbuster":
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, name
        assert all(f["hash"].startswith("sha256:") for f in files), name


async def build(target: Path) -> Path:
    process = await asyncio.create_subprocess_exec(
        *("uv", "build", "--wheel", "--quiet", "--out-dir", str(target)), cwd=ROOT
    )
    assert await process.wait() == 0
    [wheel] = target.glob("*.whl")
    return wheel


async def test_the_wheel_names_what_it_was_locked_with(tmp_path: Path) -> None:
    first, second = await asyncio.gather(build(tmp_path / "1"), build(tmp_path / "2"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        [path] = [n for n in archive.namelist() if "/sboms/" in n]
        document = json.loads(archive.read(path))
    assert path.endswith(".dist-info/sboms/sbom.cdx.json")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["name"] == "trafficbuster"
    named = {c["name"]: c for c in document["components"]}
    assert runtime() <= named.keys()
    # Of tools for development nothing is installed, and so nothing is named.
    assert named.keys().isdisjoint({"pytest", "mypy", "ruff", "pip-audit"})
    for name in runtime():
        component = named[name]
        assert component["version"] == PACKAGES[name]["version"]
        hashes = {h["content"] for r in component["externalReferences"] for h in r["hashes"]}
        locked = {w["hash"].removeprefix("sha256:") for w in PACKAGES[name].get("wheels", [])}
        assert locked <= hashes


def audited(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("code", "output", "errors", "expected", "words"),
    [
        (0, audited(GOOD, GOOD), "", 0, "none for 2 packages"),
        (1, audited(GOOD, BAD), "", 1, "b 2: PYSEC-2026-1, mended in 3"),
        # pip-audit says "No known vulnerabilities found" to all of these.
        (0, audited(UNKNOWN, UNKNOWN), "", 0, "NOT CHECKED, the service knows none of 2"),
        (0, audited(GOOD, UNKNOWN), "", 0, "none for 1 packages; NOT CHECKED: c"),
        (0, audited(), "", 0, "NOT CHECKED"),
        (1, audited(UNKNOWN, BAD), "", 1, "1 known vulnerabilities"),
        (1, "", "Traceback …\nrequests.exceptions.ConnectionError: …", 0, "NOT CHECKED, the service cannot"),
        (1, "", "ERROR: package has no hash", 1, "pip-audit failed: ERROR: package has no hash"),
        (1, "", "", 1, "pip-audit failed: exit code 1"),
    ],
)
def test_what_was_not_checked_is_never_called_clean(
    code: int, output: str, errors: str, expected: int, words: str
) -> None:
    status, said = verdict(code, output, errors)
    assert status == expected
    assert words in said
