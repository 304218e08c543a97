"""The REST interface against its own OpenAPI document: requests made from it, whole and broken.

    python -m tests.campaigns.schema --requests 50000 [--seed 1] [--json out.json]

schemathesis makes the requests. None may be answered with a 500, or with a status, a media type or a body
that the document does not declare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.campaigns.served import Served, served

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance", "ignored_auth"),
)
#: Of each operation in one round, and of the one that waits for something to happen.
_EXAMPLES, _WAITING_EXAMPLES = 150, 15
_WAITS = "/api/v1/audit/tail"


async def round_of(server: Served, seed: int, examples: int, directory: Path, *which: str) -> dict[str, Any]:
    """One run of the tool; its own report."""
    tool = shutil.which("st", path=str(Path(sys.executable).parent)) or "st"
    report = directory / f"report-{seed}.json"
    process = await asyncio.create_subprocess_exec(
        *(tool, "run", f"{server.url}/api/v1/openapi.json"),
        *("--max-examples", str(examples), "--phases", "fuzzing", "--seed", str(seed)),
        *("--header", f"Authorization: Bearer {server.token}"),
        *("--checks", ",".join(CHECKS), "--continue-on-failure", "--no-shrink", "--warnings", "off"),
        *("--request-timeout", "60", *which),
        *("--report", "json", "--report-json-path", str(report), "--generation-database", "none"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )
    said, _ = await process.communicate()
    if not report.exists():
        raise AssertionError(said.decode(errors="replace")[-3000:])
    return dict(json.loads(report.read_text())) | {"said": said.decode(errors="replace")}


async def campaign(requests: int, seed: int, examples: int = _EXAMPLES) -> dict[str, Any]:
    """Rounds until so many requests were made; `wrong` is empty if none was answered wrongly."""
    made, rounds, operations = 0, 0, 0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="schema-") as name:
        async with served(Path(name)) as server:
            while made < requests:
                for n, which in ((examples, "--exclude-path"), (_WAITING_EXAMPLES, "--include-path")):
                    report = await round_of(server, seed, n, Path(name), which, _WAITS)
                    made += report["test_cases"]["generated"]
                    operations += report["operations"]["tested"] if not rounds else 0
                    if report["failures"] or report["errors"]:
                        wrong.append(report["said"][-6000:])
                        print("WRONG", wrong[-1], flush=True)
                rounds += 1
                print(f"seed {seed}: {made} requests, {len(wrong)} rounds with faults", flush=True)
                seed += 1
            if tracebacks := server.tracebacks():
                wrong.append(f"{tracebacks} tracebacks in its log: {server.log.read_text()[-3000:]}")
    return {"requests": made, "operations": operations, "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=_EXAMPLES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(campaign(args.requests, args.seed, args.examples))
    print(json.dumps({k: v for k, v in result.items() if k != "wrong"}))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    raise SystemExit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
