"""The runners as their heartbeats show them: online, paused, draining, offline, lost. No clock of its own."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker_config.api import PlatformView, RunnerView
from broker_config.messages import Heartbeat

#: Silence after which a runner counts as lost, s.
LOST_AFTER = 5.0
#: A lost or offline runner is forgotten after this long, s.
FORGOTTEN_AFTER = 86_400.0
#: Instances that are remembered as having left in good order.
MAX_DEPARTED = 10_000


class Roster:
    """Mutable. `version` grows whenever something that people see changes."""

    def __init__(self) -> None:
        self.version = 0
        self._runners: dict[str, RunnerView] = {}
        self._heard: dict[str, float] = {}
        self._departed: dict[str, None] = {}

    def hear(self, beat: Heartbeat, now: float) -> list[str]:
        """Take a heartbeat; what changed, in words for the log."""
        old = self._runners.get(beat.runner)
        view = _view(beat, now)
        self._runners[beat.runner] = view
        self._heard[beat.runner] = now
        self.version += 1
        if view.state == "offline":
            self._departed[view.instance] = None
            if len(self._departed) > MAX_DEPARTED:
                del self._departed[next(iter(self._departed))]
        if old is None or old.instance != view.instance:
            offers = ", ".join(p.platform for p in view.platforms)
            return [f"runner {view.id} is {view.state} with {view.slots} slots for {offers}"]
        if old.state != view.state:
            return [f"runner {view.id} is {view.state} (was {old.state})"]
        return []

    def restore(self, view: RunnerView) -> None:
        """A runner as the bucket remembers it: lost until it speaks, unless it said good-bye."""
        if view.id not in self._runners:
            state = view.state if view.state == "offline" else "lost"
            self._runners[view.id] = msgspec.structs.replace(view, state=state, busy=0, running=[])
            self.version += 1

    def sweep(self, now: float) -> list[RunnerView]:
        """Mark the silent as lost and forget the long gone; the newly lost."""
        lost = []
        for id, view in list(self._runners.items()):
            if view.state in ("lost", "offline"):
                if now - view.last_seen > FORGOTTEN_AFTER:
                    del self._runners[id]
                    self._heard.pop(id, None)
                    self.version += 1
            elif now - self._heard[id] > LOST_AFTER:
                gone = msgspec.structs.replace(view, state="lost")
                self._runners[id] = gone
                self.version += 1
                lost.append(view)
        return lost

    def get(self, id: str) -> RunnerView | None:
        return self._runners.get(id)

    def all(self) -> list[RunnerView]:
        return sorted(self._runners.values(), key=lambda r: (r.state in ("lost", "offline"), r.id))

    def died(self, runner: str, instance: str) -> bool:
        """True if that process of the runner ended without saying so: it is silent, or another took its
        place."""
        if instance in self._departed:
            return False
        view = self._runners.get(runner)
        return view is None or view.state == "lost" or view.instance != instance

    def online(self) -> list[RunnerView]:
        """Those that take new work."""
        return [r for r in self._runners.values() if r.state == "online"]

    def platforms(self) -> list[PlatformView]:
        return platforms(self.online())

    def holder(self, job: str, session: int) -> str | None:
        """Who runs the session now, as far as heartbeats tell."""
        for r in self._runners.values():
            if r.state not in ("lost", "offline") and any(
                (s.job, s.session) == (job, session) for s in r.running
            ):
                return r.id
        return None


def platforms(online: Iterable[RunnerView]) -> list[PlatformView]:
    """Platforms that the given runners offer, by name."""
    rows: dict[str, list[int]] = {}
    for r in online:
        for offer in r.platforms:
            row = rows.setdefault(offer.platform, [0, 0, 0])
            row[0] += 1
            row[1] += r.slots
            row[2] += max(0, r.slots - r.busy)
    return [PlatformView(platform=p, runners=n, slots=s, free=f) for p, (n, s, f) in sorted(rows.items())]


def _view(beat: Heartbeat, now: float) -> RunnerView:
    return RunnerView(
        id=beat.runner,
        state=beat.state,
        slots=beat.slots,
        busy=beat.busy,
        platforms=beat.platforms,
        last_seen=now,
        instance=beat.instance,
        pool=beat.pool,
        labels=beat.labels,
        version=beat.version,
        hostname=beat.hostname,
        started_at=beat.started_at,
        cpu=beat.cpu,
        cpu_own=beat.cpu_own,
        memory_used=beat.memory_used,
        memory_own=beat.memory_own,
        saturated=beat.saturated,
        sessions_done=beat.sessions_done,
        running=beat.running,
        scripts=beat.scripts,
    )
