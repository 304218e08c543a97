"""The lists in docs/errors.md and docs/nats.md are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import orchestrator
import runner
from broker_config import subjects
from broker_config.audit_actions import ACTIONS
from runner.core import failure

DOCS = Path(__file__).parents[2] / "docs"


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the page's table whose first column is headed so, without backticks."""
    lines = iter((DOCS / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_the_kinds_of_errors() -> None:
    listed = {row[0]: row[1] for row in table("errors.md", "kind")}
    found = {kind: kind in failure._INFRASTRUCTURE for kind, _ in failure._NETWORK}
    for package in (runner, orchestrator):
        for path in Path(package.__path__[0]).rglob("*.py"):
            found |= _kinds(ast.parse(path.read_text()))
    assert {k: f == "infrastructure" for k, f in listed.items()} == found
    again = {row[0]: row[2] for row in table("errors.md", "kind")}
    assert {k for k, a in again.items() if a == "no"} == {k for k, infra in found.items() if not infra}


def _kinds(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Each kind that a file makes, and whether it is the infrastructure's fault."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        named = {k.arg: k.value for k in node.keywords}
        kind = named.get("kind") if node.func.id == "ErrorInfo" else None
        if node.func.id in ("_info", "_not_run"):
            kind = node.args[0]
        if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
            yes = named.get("infrastructure")
            infra = node.func.id == "_not_run" or (isinstance(yes, ast.Constant) and yes.value is True)
            yield kind.value, infra


def test_the_actions_of_the_audit_log() -> None:
    assert {row[0]: row[1] for row in table("audit.md", "action")} == ACTIONS


def test_the_subjects() -> None:
    listed = {re.sub(r"<[a-z]+>", "x", re.sub(r"\[.*\]", "", row[0])) for row in table("nats.md", "subject")}
    assert listed == {
        subjects.job_dispatch("x"),
        subjects.session_record("x", "x"),
        subjects.session_record("x", subjects.CONDUCTOR),
        subjects.job_progress("x"),
        subjects.job_log("x", "x"),
        subjects.job_control("x"),
        subjects.RUNNER_REGISTER,
        subjects.runner_register("x"),
        subjects.runner_renew("x"),
        subjects.RUNNER_ARTIFACT,
        subjects.runner_artifact("x"),
        subjects.RUNNER_SECRET,
        subjects.runner_secret("x"),
        subjects.runner_heartbeat("x"),
        subjects.runner_control("x"),
        subjects.quarantine("x"),
        subjects.AUDIT_ENTRY,
    }


def test_the_threat_model_names_tests_that_exist() -> None:
    page = (DOCS / "security.md").read_text()
    tests = DOCS.parent / "tests"
    there = {
        n
        for p in tests.rglob("test_*.py")
        for n in re.findall(r"^(?:async )?def (test_\w+)", p.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 30
    assert named <= there, sorted(named - there)
    files = set(re.findall(r"`(tests/\S+\.py)`", page))
    assert all((DOCS.parent / path).is_file() for path in files), files
