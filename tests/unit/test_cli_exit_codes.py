"""Exit codes: fixed numbers, one for each verdict, documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from broker_config.errors import (
    BrokerUnavailable,
    BrowserNotFound,
    IllegalTransition,
    JobNotFound,
    Problem,
    SettingsError,
    SpecError,
)
from broker_config.messages import Verdict
from cli import tb, tb_runner
from cli.exit_codes import ExitCode, of_verdict
from cli.failure import code_of

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_the_numbers_do_not_change() -> None:
    assert {c.name: c.value for c in ExitCode} == {
        "PASSED": 0,
        "THRESHOLD_FAILED": 1,
        "USAGE": 2,
        "ABORTED": 3,
        "INFRASTRUCTURE": 4,
    }


def test_every_verdict_has_its_own() -> None:
    codes = {v: of_verdict(v) for v in get_args(Verdict)}
    assert codes == {"passed": 0, "failed": 1, "aborted": 3, "error": 4}
    assert of_verdict(None) is ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError([Problem("sessions", "is missing")]), ExitCode.USAGE),
        (SettingsError("x"), ExitCode.USAGE),
        (JobNotFound("x"), ExitCode.USAGE),
        (IllegalTransition("x"), ExitCode.USAGE),
        (BrokerUnavailable("x"), ExitCode.INFRASTRUCTURE),
        (BrowserNotFound("x"), ExitCode.INFRASTRUCTURE),
        (OSError("x"), ExitCode.INFRASTRUCTURE),
        (KeyError("x"), ExitCode.INFRASTRUCTURE),
    ],
)
def test_errors_of_the_user_and_of_the_machine_differ(error: Exception, code: ExitCode) -> None:
    assert code_of(error) is code


def test_the_docs_list_every_code() -> None:
    listed = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert listed == {str(c.value): c.name for c in ExitCode}


def test_the_docs_name_every_command_and_no_other() -> None:
    def leaves(command: object, path: str) -> list[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [] if getattr(command, "hidden", False) else [path]
        return [leaf for name, c in inner.items() for leaf in leaves(c, f"{path} {name}")]

    there = {*leaves(get_command(tb.app), "tb"), *leaves(get_command(tb_runner.app), "tb-runner")}
    assert set(re.findall(r"^### `([a-z -]+?)(?: [A-Z\[].*)?`$", PAGE, re.MULTILINE)) == there
