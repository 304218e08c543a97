"""Asks for known vulnerabilities of all that is in the lock: pip-audit, over what `uv export` makes of it.

Exit code 1 for a vulnerability, or if pip-audit fails by itself. Where the advisory service cannot be
reached, or knows none of the packages, nothing was checked: that is said, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXPORT = "uv export --frozen --all-groups --all-extras --no-emit-project --quiet --format requirements.txt"
# Hashes: what is asked about is what would be installed.
AUDIT = "pip-audit --require-hashes --disable-pip --progress-spinner off --timeout 15 --format json"
#: What pip-audit says when it did not get through.
_UNREACHABLE = ("ConnectionError", "Could not connect", "Max retries exceeded", "Read timed out", "HTTPError")


def verdict(code: int, output: str, errors: str) -> tuple[int, str]:
    """Exit code and words, of what pip-audit did."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        last = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {code}"
        if any(words in errors for words in _UNREACHABLE):
            return 0, f"advisories: NOT CHECKED, the service cannot be reached ({last[:200]})"
        return 1, f"advisories: pip-audit failed: {last}"
    bad = [(d, v) for d in found for v in d.get("vulns", ())]
    if bad:
        lines = [
            f"  {d['name']} {d['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'none yet'}"
            for d, v in bad
        ]
        return 1, "\n".join([f"advisories: {len(bad)} known vulnerabilities", *lines])
    skipped = [d["name"] for d in found if "skip_reason" in d]
    if len(skipped) == len(found):
        why = found[0]["skip_reason"] if found else "there is nothing to check"
        return 0, f"advisories: NOT CHECKED, the service knows none of {len(found)} packages ({why})"
    if skipped:
        names = ", ".join(skipped)
        return 0, f"advisories: none for {len(found) - len(skipped)} packages; NOT CHECKED: {names}"
    return 0, f"advisories: none for {len(found)} packages"


def main() -> int:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as directory:
        requirements = Path(directory, "requirements.txt")
        subprocess.run([*EXPORT.split(), "--output-file", str(requirements)], cwd=root, check=True)
        command = [sys.executable, "-m", *AUDIT.replace("pip-audit", "pip_audit", 1).split()]
        done = subprocess.run(
            [*command, "-r", str(requirements)], capture_output=True, text=True, cwd=root, check=False
        )
    code, words = verdict(done.returncode, done.stdout, done.stderr)
    print(words)
    return code


if __name__ == "__main__":
    sys.exit(main())
