"""Exit codes of `tb`, the same for every command."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker_config.messages import Verdict


class ExitCode(IntEnum):
    #: The command did what it should; a watched job passed.
    PASSED = 0
    #: A watched job ran, and a threshold does not hold.
    THRESHOLD_FAILED = 1
    #: The command line, a spec or a settings file is wrong.
    USAGE = 2
    #: A watched job was cancelled; or the command itself was interrupted.
    ABORTED = 3
    #: Server, broker, browser or machine failed; sessions were lost, or none ran.
    INFRASTRUCTURE = 4


_VERDICTS: dict[Verdict, ExitCode] = {
    "passed": ExitCode.PASSED,
    "failed": ExitCode.THRESHOLD_FAILED,
    "aborted": ExitCode.ABORTED,
    "error": ExitCode.INFRASTRUCTURE,
}


def of_verdict(verdict: Verdict | None) -> ExitCode:
    """The exit code of a job that ended so; a job without a verdict is an infrastructure error."""
    return _VERDICTS[verdict] if verdict else ExitCode.INFRASTRUCTURE
