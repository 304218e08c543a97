"""What a runner says of itself, held against its credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Wrong(NamedTuple):
    """What is wrong with it, in words; `passing` where it may be right in a moment."""

    text: str
    passing: bool = False


class Claim(Protocol):
    """`Enrolment.problem` is one."""

    def __call__(
        self, runner: str, pool: str | None, platforms: Sequence[str], *, scripts: bool
    ) -> Wrong | None:
        """Why the runner may not say so; None if it may."""
        ...
