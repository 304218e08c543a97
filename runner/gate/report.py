"""What the gate saw of one session."""

from __future__ import annotations

from collections import Counter

import msgspec

from broker_config.messages import ErrorInfo
from broker_config.origin import Origin
from runner.core.egress_policy import Refusal

#: So many origins of a kind are told apart; what comes then is counted under `OTHERS`.
MAX_ORIGINS = 100
OTHERS = "others"
MAX_ERRORS = 20


class EgressError(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that did not do what it is for; `proxy` is without credentials, "" where none was left."""

    proxy: str
    reason: str


class GateReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session's traffic. Bytes are those of the sites' side, without what was said to proxies.

    `refused` counts by kind and origin. `third_parties` counts requests (tunnels, where nothing more is seen)
    by origin. `upstreams` are the proxies that were used, in order; `direct` stands for none.
    """

    #: Plain requests; what goes through tunnels is not seen.
    requests: int = 0
    tunnels: int = 0
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    refused: dict[Refusal, dict[str, int]] = {}
    third_parties: dict[str, int] = {}
    upstreams: list[str] = []
    egress_errors: list[EgressError] = []
    #: Requests that failed because no proxy was left, or because one broke within an answer; and those of
    #: them that were for the job's own origins.
    egress_failures: int = 0
    own_failures: int = 0
    #: Connections that waited for the rate ceiling, and seconds in all.
    delayed: int = 0
    delay: float = 0.0

    @property
    def refused_by_origin(self) -> dict[str, int]:
        """Of all kinds together."""
        return dict(sum((Counter(counts) for counts in self.refused.values()), Counter[str]()))


class Ledger:
    """Gathers a report. `explain` tells why an origin could not be reached."""

    __slots__ = (
        "_causes",
        "_own",
        "_third_parties",
        "connections",
        "delay",
        "delayed",
        "down",
        "egress_failures",
        "errors",
        "own_failures",
        "refused",
        "requests",
        "tunnels",
        "up",
        "upstreams",
    )

    def __init__(self, own: frozenset[Origin] = frozenset()) -> None:
        """`own` are the job's origins."""
        self._own = own
        self.requests = self.tunnels = self.connections = self.up = self.down = 0
        self.egress_failures = self.own_failures = self.delayed = 0
        self.delay = 0.0
        self.errors: list[EgressError] = []
        self.upstreams: list[str] = []
        self.refused: dict[Refusal, Counter[str]] = {}
        self._third_parties: Counter[str] = Counter()
        self._causes: dict[str, ErrorInfo] = {}

    def refuse(self, kind: Refusal, origin: Origin | None, words: str) -> None:
        _count(self.refused.setdefault(kind, Counter()), str(origin) if origin else "unknown")
        if origin is not None and kind != "limit":
            self.cause(origin, ErrorInfo(kind="origin_refused", detail=words))

    def third_party(self, origin: Origin) -> None:
        _count(self._third_parties, str(origin))

    def used(self, upstream: str) -> None:
        if upstream not in self.upstreams and len(self.upstreams) < MAX_ORIGINS:
            self.upstreams.append(upstream)

    def error(self, proxy: str, reason: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(EgressError(proxy=proxy, reason=reason))

    def lost(self, origin: Origin) -> None:
        """A request failed on its way, before the site."""
        self.egress_failures += 1
        # A tunnel may be a WebSocket's, without TLS.
        self.own_failures += origin in self._own or origin._replace(scheme="http") in self._own

    def cause(self, origin: Origin, info: ErrorInfo) -> None:
        """Remember why the origin could not be reached; the last cause counts."""
        if len(self._causes) < MAX_ORIGINS or str(origin) in self._causes:
            self._causes[str(origin)] = info

    def reached(self, origin: Origin) -> None:
        if self._causes:
            self._causes.pop(str(origin), None)

    def explain(self, origin: Origin) -> ErrorInfo | None:
        for scheme in (origin.scheme, "https"):
            info = self._causes.get(str(origin._replace(scheme=scheme)))
            if info is not None:
                return info
        return None

    def report(self) -> GateReport:
        return GateReport(
            requests=self.requests,
            tunnels=self.tunnels,
            connections=self.connections,
            bytes_up=self.up,
            bytes_down=self.down,
            refused={kind: dict(count) for kind, count in self.refused.items()},
            third_parties=dict(self._third_parties),
            upstreams=list(self.upstreams),
            egress_errors=list(self.errors),
            egress_failures=self.egress_failures,
            own_failures=self.own_failures,
            delayed=self.delayed,
            delay=round(self.delay, 6),
        )


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < MAX_ORIGINS else OTHERS] += 1
