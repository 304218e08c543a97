"""A session between its dispatch and its end."""

from __future__ import annotations

import msgspec


class InFlight(msgspec.Struct):
    """A session that was dispatched and has no counted record yet. `seq` is its message in DISPATCH, 0 where
    that is gone; times are of the conductor's clock."""

    lane: str
    seq: int
    attempt: int
    since: float
    #: When it is to start; 0 for at once.
    start_at: float = 0.0
    #: When a runner first said that it holds it; 0 for never.
    began: float = 0.0
    #: When a runner last said that it holds the session; 0 for never.
    held_at: float = 0.0
    #: When it was found that a runner was given it, though none has said so yet; 0 for never.
    given_at: float = 0.0
    #: Highest attempt that a runner was seen to make.
    attempt_seen: int = 0
    #: Runner instances that were seen to hold it.
    holders: set[str] = set()
    #: Sweeps in a row that found neither message nor holder.
    missed: int = 0
    #: The conductor has written its record, which has not come back by the feed yet.
    written_off: bool = False
