"""Messages on the wire: frozen Structs, one file a noun.

New fields have defaults, types never change; a golden file of each in `tests/golden` guards that.
Times are seconds since 1970 (UTC), durations are milliseconds where the name ends in `_ms` or the field is a
browser metric, seconds elsewhere; sizes are bytes.
"""

from .artifact import ArtifactReply, ArtifactRequest
from .audit_entry import AuditEntry, AuditResult
from .control import ControlReply, JobCommand, JobControl, RunnerCommand, RunnerControl
from .dispatch import Dispatch
from .heartbeat import Heartbeat, RunnerState, RunningSession
from .log import JobLog
from .progress import Counts, GroupSummary, JobProgress, JobState, Summary, Verdict
from .quarantined import Quarantined, quarantined
from .record import (
    STATUSES,
    ConductorRecord,
    ErrorInfo,
    Measures,
    OwedStatus,
    PageMeasures,
    SessionRecord,
    SessionStatus,
    StepRecord,
)
from .registration import (
    PROTOCOL,
    PROTOCOL_OLDEST,
    PlatformOffer,
    Refusal,
    RefusalCode,
    RegisterReply,
    RegisterRequest,
    RunnerSettings,
)
from .renewal import RenewReply, RenewRequest
from .secret import SEALED, SecretBundle, SecretKind, SecretRefusal, SecretReply, SecretRequest

__all__ = [
    "PROTOCOL",
    "PROTOCOL_OLDEST",
    "SEALED",
    "STATUSES",
    "ArtifactReply",
    "ArtifactRequest",
    "AuditEntry",
    "AuditResult",
    "ConductorRecord",
    "ControlReply",
    "Counts",
    "Dispatch",
    "ErrorInfo",
    "GroupSummary",
    "Heartbeat",
    "JobCommand",
    "JobControl",
    "JobLog",
    "JobProgress",
    "JobState",
    "Measures",
    "OwedStatus",
    "PageMeasures",
    "PlatformOffer",
    "Quarantined",
    "Refusal",
    "RefusalCode",
    "RegisterReply",
    "RegisterRequest",
    "RenewReply",
    "RenewRequest",
    "RunnerCommand",
    "RunnerControl",
    "RunnerSettings",
    "RunnerState",
    "RunningSession",
    "SecretBundle",
    "SecretKind",
    "SecretRefusal",
    "SecretReply",
    "SecretRequest",
    "SessionRecord",
    "SessionStatus",
    "StepRecord",
    "Summary",
    "Verdict",
    "quarantined",
]
