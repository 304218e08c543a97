"""A kill as the bucket `kills` keeps it: all traffic of a job, a project or the fleet is over until it is
lifted.

Its revision orders it among dispatches: whoever let something in says how far it had read the bucket
(`Job.kills`, `Dispatch.kills`). A kill holds for what was let in without knowing of it; what was let in by
one who knew of it came after it was lifted. So nobody has to hear of the lifting, and no clocks are compared.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .subjects import token

KillScope = Literal["job", "project", "fleet"]
Text = Annotated[str, Meta(max_length=500)]


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """`job` is set where the scope is a job, `project` where it is a job (the one that it belongs to) or a
    project. `revision` is that of its entry in the bucket, 0 before it has one."""

    scope: KillScope
    job: str = ""
    project: str = ""
    by: str = ""
    reason: Text = ""
    at: float = 0.0
    revision: int = 0

    @property
    def id(self) -> str:
        return kill_id(self.scope, self.job if self.scope == "job" else self.project)

    def covers(self, job: str, project: str, seen: int) -> bool:
        """Whether it holds for what was let in by one who had read the bucket up to the revision `seen`."""
        if seen >= self.revision:
            return False
        if self.scope == "fleet":
            return True
        return job == self.job if self.scope == "job" else project == self.project

    @property
    def what(self) -> str:
        """What it has stopped, in words."""
        if self.scope == "fleet":
            return "the fleet"
        return f"job {self.job}" if self.scope == "job" else f"the project {self.project}"

    @property
    def words(self) -> str:
        """Why a job ended."""
        who = f"killed by {self.by}" if self.by else "killed"
        return f"{who}: {self.reason}" if self.reason else who


def kill_id(scope: KillScope, name: str = "") -> str:
    """Also its key in the bucket. Raises `NameRefused`."""
    return scope if scope == "fleet" else f"{scope}-{token(name, scope)}"


class KillOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /kills`: exactly one of `job`, `project` and `fleet` is given."""

    job: str = ""
    project: str = ""
    fleet: bool = False
    reason: Text = ""


class KillView(msgspec.Struct, frozen=True, kw_only=True):
    """A kill that holds, or has just been lifted. `id` is its name at `DELETE /kills/{id}`."""

    id: str
    scope: KillScope
    job: str = ""
    project: str = ""
    by: str = ""
    reason: str = ""
    at: float = 0.0

    @classmethod
    def of(cls, kill: Kill) -> KillView:
        return cls(
            id=kill.id,
            scope=kill.scope,
            job=kill.job,
            project=kill.project,
            by=kill.by,
            reason=kill.reason,
            at=kill.at,
        )


class KillList(msgspec.Struct, frozen=True, kw_only=True):
    """The widest first."""

    items: list[KillView]
