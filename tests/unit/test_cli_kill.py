"""The arguments of `tb kill` and `tb keys`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker_config.keyring import Keyring
from cli.exit_codes import ExitCode
from cli.tb import app


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of them"),
        (["--lift"], "one of them"),
        (["--fleet", "--job", "j1"], "one of them"),
        (["--job", "j1", "--project", "p"], "one of them"),
        (["--list", "--fleet"], "--list stands alone"),
        (["--lift", "--fleet", "--reason", "x"], "--reason belongs to a kill"),
        (["--lift", "--project", "a.b"], "project 'a.b' is not allowed"),
    ],
)
def test_a_kill_says_what_is_meant(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["kill", *arguments])
    assert done.exit_code == ExitCode.USAGE
    assert words in done.stderr


def test_new_keys_are_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    done = CliRunner().invoke(app, ["keys", "init", str(directory)])
    assert done.exit_code == 0
    ring = Keyring.load(directory)
    assert ring.public("dispatch") in done.stderr
    assert "SU" + ring.dispatch.decode()[2:] not in done.output + done.stderr
    again = CliRunner().invoke(app, ["keys", "init", str(directory)])
    assert again.exit_code == ExitCode.USAGE
    assert "is not empty" in again.stderr
    assert Keyring.load(directory) == ring
