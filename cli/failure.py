"""Errors as a person should see them: one line that says what to do, and an exit code.

TB_DEBUG=1 shows the traceback instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from broker_config.errors import (
    AccessRefused,
    IllegalTransition,
    JobNotFound,
    NameRefused,
    SettingsError,
    SpecError,
    TrafficBusterError,
)

from .exit_codes import ExitCode

_USAGE = (SpecError, SettingsError, NameRefused, JobNotFound, IllegalTransition, AccessRefused)


@contextmanager
def in_words(program: str = "tb") -> Iterator[None]:
    """Turn errors of the block into words on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our output has seen enough. Without this, the interpreter complains while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.PASSED) from None
    except KeyboardInterrupt:
        raise SystemExit(ExitCode.ABORTED) from None
    except Exception as e:
        error = _single(e)
        if os.environ.get("TB_DEBUG"):
            raise
        # Brings rich, which `tb --help` does without.
        from .harmless import harmless

        print(harmless(f"{program}: {words(error)}"), file=sys.stderr)
        raise SystemExit(code_of(error)) from None


def code_of(error: BaseException) -> ExitCode:
    return ExitCode.USAGE if isinstance(error, _USAGE) else ExitCode.INFRASTRUCTURE


def words(error: BaseException) -> str:
    if isinstance(error, SpecError) and len(error.problems) > 1:
        source = f"{error.source}: " if error.source else ""
        lines = "\n".join(f"  {p}" for p in error.problems)
        return f"{source}{len(error.problems)} things are wrong\n{lines}"
    if isinstance(error, TrafficBusterError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is missing; pip install 'trafficbuster[orchestrator,runner]'"
    return f"unexpected: {type(error).__name__}: {error}; TB_DEBUG=1 shows where"


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
