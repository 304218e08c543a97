"""A scripted journey: Python of the user's own, run by runners that were started with `--allow-scripts`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_SCRIPT = 200_000


class Script(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`async def journey(page, context)`, in place of behaviour and journey."""

    source: Annotated[str, Meta(max_length=MAX_SCRIPT)] = ""
    #: Read where the job is submitted: a stored job holds its source.
    file: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    function: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "journey"
