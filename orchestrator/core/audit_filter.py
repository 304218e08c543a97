"""Which entries of the audit log are asked for."""

from __future__ import annotations

import msgspec

from broker_config.messages import AuditEntry


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must fit. `action` takes in those below it: `job` is `job.submit`, `job.cancel` …"""

    actor: str = ""
    action: str = ""
    result: str = ""
    object: str = ""
    project: str = ""
    #: Seconds since 1970.
    since: float = 0.0

    def fits(self, entry: AuditEntry) -> bool:
        return (
            self.actor in ("", entry.actor)
            and (self.action in ("", entry.action) or entry.action.startswith(f"{self.action}."))
            and self.result in ("", entry.result)
            and self.object in ("", entry.object)
            and self.project in ("", entry.project)
            and entry.at >= self.since
        )
