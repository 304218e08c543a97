"""The independent auditor: every total of a job, derived again from its raw records.

Shares nothing with the fold but the plan and the definition of the wire format, so that a mistake there
cannot hide here. `audit` says whether the records, the job's document and what was claimed of them agree.
"""

from .auditing import Audit, Claim, audit
from .report import AuditReport, Finding, Kind

__all__ = ["Audit", "AuditReport", "Claim", "Finding", "Kind", "audit"]
