"""Which kills there are, and what they cover."""

from __future__ import annotations

from collections.abc import Iterable

from broker_config.kill import Kill, KillScope

from .access import Access

#: What it takes to kill, and to lift.
ACCESS: dict[KillScope, Access] = {
    "job": Access(scope="project", role="operator"),
    "project": Access(scope="project", role="admin"),
    "fleet": Access(scope="fleet", role="admin"),
}
_WIDEST = ("fleet", "project", "job")


class Kills:
    """Those that hold, as the bucket told of them up to `revision`."""

    def __init__(self, kills: Iterable[Kill] = (), revision: int = 0) -> None:
        self._kills = {kill.id: kill for kill in kills}
        self.revision = revision

    def put(self, kill: Kill) -> None:
        self._kills[kill.id] = kill

    def lift(self, id: str) -> Kill | None:
        return self._kills.pop(id, None)

    def get(self, id: str) -> Kill | None:
        return self._kills.get(id)

    def all(self) -> list[Kill]:
        """The widest first, then the newest."""
        return sorted(self._kills.values(), key=lambda k: (_WIDEST.index(k.scope), -k.revision))

    def of(self, job: str, project: str, seen: int = 0) -> Kill | None:
        """The widest that covers what was let in by one who knew the bucket up to `seen`."""
        return next((kill for kill in self.all() if kill.covers(job, project, seen)), None)


def refusal(kill: Kill, doing: str) -> str:
    """Why something is refused, and what to do. `doing` is such as `be submitted`."""
    flag = {
        "fleet": "--fleet",
        "project": f"--project {kill.project}",
        "job": f"--job {kill.job}",
    }[kill.scope]
    return f"nothing of {kill.what} can {doing}: it was {kill.words}; lift that first: tb kill --lift {flag}"
