"""What a check found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

State = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """`warn` works, but not well or not fully; `fail` does not. `mend` says what to do, empty where all is
    well."""

    name: str
    state: State
    found: str
    mend: str = ""


async def guarded(name: str, check: Callable[[], Awaitable[Finding]], limit: float) -> Finding:
    """A check that breaks or hangs is a finding too."""
    try:
        async with asyncio.timeout(limit):
            return await check()
    except TimeoutError:
        return Finding(name, "fail", f"no answer in {limit:g} s", "see whether the machine is overloaded")
    except Exception as e:
        why = f"the check itself failed: {type(e).__name__}: {e}"
        return Finding(name, "fail", why, "please report this, with the output of `tb doctor`")
