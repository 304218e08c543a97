"""What is killed, as a runner has been told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from broker_config.kill import Kill
from broker_config.messages import Dispatch

#: Killed jobs that are remembered. Sessions of those that were forgotten are too old to be begun.
REMEMBERED = 2_000


class Killed:
    """A kill is not forgotten when it is lifted: it holds for what was sent before, and for nothing else."""

    def __init__(self) -> None:
        self._wide: dict[str, Kill] = {}
        self._jobs: OrderedDict[str, Kill] = OrderedDict()

    def put(self, kills: Iterable[Kill]) -> None:
        for kill in kills:
            held: dict[str, Kill] = self._jobs if kill.scope == "job" else self._wide
            known = held.get(kill.id)
            if known is None or known.revision < kill.revision:
                held[kill.id] = kill
        while len(self._jobs) > REMEMBERED:
            self._jobs.popitem(last=False)

    def of(self, dispatch: Dispatch) -> Kill | None:
        """The kill that covers the session."""
        kills = [*self._wide.values()]
        if kill := self._jobs.get(f"job-{dispatch.job}"):
            kills.append(kill)
        return next((k for k in kills if k.covers(dispatch.job, dispatch.project, dispatch.kills)), None)
