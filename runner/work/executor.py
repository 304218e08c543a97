"""The port between the feed, which gets sessions, and whatever runs them (a browser; a timer in tests)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from broker_config.grant import Grant
from broker_config.messages import Dispatch, PlatformOffer
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Outcome
from runner.gate.event import OnEvent

#: Called with an event name (`step`, `line`) and a text, as things happen in a session.
Say = Callable[[str, str], None]


class Executor(Protocol):
    """Runs sessions. One `run` a slot, many at a time. `on_egress` is set by the runner, and called with what
    happens to proxies; `contact` too, whom to ask about the traffic."""

    on_egress: OnEvent
    contact: str

    @property
    def platforms(self) -> Sequence[PlatformOffer]:
        """The platforms that `start` has really started once."""
        ...

    async def start(self) -> None:
        """Find and try the browsers. Raises `BrowserError` if none can be started."""
        ...

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        """Run one session to its end, by the proxies of `pool`, direct without. Never raises for what the
        site or the browser does: that is an outcome.

        Cancelling the call closes the session's context at once (bounded, browser killed if need be), then
        lets the cancellation through.
        """
        ...

    def cut(self, job: str) -> None:
        """The job is killed: cut all connections of its sessions at once, and open none for it any more. The
        calls of `run` are cancelled beside that."""
        ...

    def renew(self, grant: Grant) -> None:
        """Sessions of its job go on until it expires, by this machine's clock."""
        ...

    def hold(self, held: bool) -> None:
        """Let no traffic of any session through for now; or let it go on."""
        ...

    async def close(self) -> None:
        """End all browsers."""
        ...
