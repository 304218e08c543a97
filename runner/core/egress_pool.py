"""Which proxy has its turn, which are down, and when one that is down is tried again. No clock of its own."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from typing import Literal

import msgspec

from broker_config.proxy import Proxy

#: Seconds until a proxy that is down is tried again: the first time, and at most. It doubles between.
COOL_DOWN = 5.0
MAX_COOL_DOWN = 120.0


class ProxyState(msgspec.Struct):
    """`trying` is True while one connection finds out whether a proxy that was down works again."""

    proxy: Proxy
    down_since: float | None = None
    again_at: float = 0.0
    cool_down: float = 0.0
    trying: bool = False
    reason: str = ""


class EgressPool:
    """The proxies of a pool, as one runner sees them. Mutable, shared by all sessions that use it."""

    def __init__(
        self,
        proxies: Sequence[Proxy],
        *,
        rotation: Literal["session", "cycle", "interval"] = "session",
        cycle: int = 10,
        interval: float = 60.0,
        order: Literal["sequential", "random"] = "sequential",
        seed: int = 0,
        now: float = 0.0,
        cool_down: float = COOL_DOWN,
    ) -> None:
        self.states: list[ProxyState] = []
        self._of: dict[Proxy, ProxyState] = {}
        self._rotation = rotation
        self._cycle = cycle
        self._interval = interval
        self._order = order
        self._seed = seed
        self._began = now
        self._cool_down = cool_down
        self._sessions = 0
        self._round: tuple[int, list[int]] = (-1, [])
        self.renew(proxies)

    def renew(self, proxies: Sequence[Proxy]) -> None:
        """The pool is these from now on. What is known of those that stay is kept; those that go are given to
        nobody any more, not even to the sessions that have them."""
        self._of = {p: self._of.get(p) or ProxyState(p) for p in proxies if p.enabled}
        self.states = list(self._of.values())
        self._round = (-1, [])

    def turn(self, now: float) -> int:
        """A session begins: the number of its turn, for `choose`. A session keeps it to its end."""
        number = self._sessions
        self._sessions += 1
        match self._rotation:
            case "session":
                return number
            case "cycle":
                return number // self._cycle
            case "interval":
                return int((now - self._began) // self._interval)

    def choose(
        self, turn: int, now: float, tried: Container[Proxy] = (), prefer: Proxy | None = None
    ) -> Proxy | None:
        """`prefer` if that works; else the proxy whose turn it is, or the next one after it that works and is
        not in `tried`.

        One that is down counts as working when its time has come, for one connection: the caller owes
        `worked`, `failed` or `left` for what it is given. None where no proxy is left.
        """
        if prefer in self._of and prefer not in tried and not self.is_down(prefer):
            return prefer
        size = len(self.states)
        first = self._index(turn) if size else 0
        for step in range(size):
            state = self.states[(first + step) % size]
            if state.proxy in tried:
                continue
            if state.down_since is None:
                return state.proxy
            if now >= state.again_at and not state.trying:
                state.trying = True
                return state.proxy
        return None

    def is_down(self, proxy: Proxy) -> bool:
        state = self._of.get(proxy)
        return state is not None and state.down_since is not None

    def worked(self, proxy: Proxy) -> bool:
        """A connection through it stands. True if it was down until now."""
        state = self._of.get(proxy)
        if state is None:
            return False
        was_down = state.down_since is not None
        state.down_since, state.trying, state.cool_down, state.reason = None, False, 0.0, ""
        return was_down

    def failed(self, proxy: Proxy, now: float, reason: str) -> bool:
        """It does not work. True if that is news."""
        state = self._of.get(proxy)
        if state is None:
            return False
        news = state.down_since is None
        if not news and not state.trying:
            return False  # a connection of before: known already
        state.cool_down = min(MAX_COOL_DOWN, state.cool_down * 2 or self._cool_down)
        state.again_at = now + state.cool_down
        state.down_since = now if state.down_since is None else state.down_since
        state.trying = False
        state.reason = reason
        return news

    def left(self, proxy: Proxy) -> None:
        """The connection was given up before it showed anything."""
        if state := self._of.get(proxy):
            state.trying = False

    def _index(self, turn: int) -> int:
        size = len(self.states)
        if self._order == "sequential":
            return turn % size
        round_number, place = divmod(turn, size)
        if self._round[0] != round_number:
            order = list(range(size))
            random.Random(f"{self._seed}:{round_number}").shuffle(order)
            self._round = (round_number, order)
        return self._round[1][place]
