"""NATS subjects, as pairs: one concrete to publish on, one wildcard to subscribe to.

Above each pair stands the literal form. Every variable part goes through `token`, so nothing from a user
becomes part of a subject unchecked.
"""

from __future__ import annotations

import re

from .errors import NameRefused

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: Last token of the subject on which the conductor itself writes terminal records.
CONDUCTOR = "conductor"


def token(value: str, what: str = "name") -> str:
    """Return `value` if it can be one token of a subject; raise `NameRefused` if not."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise NameRefused(f"{what} {value!r} is not allowed; use 1 to 64 characters of A-Z a-z 0-9 _ -")
    return value


# runner.register
RUNNER_REGISTER = "runner.register"
#: Queue group in which all orchestrators answer registrations: each is answered once.
RUNNER_REGISTER_QUEUE = "orchestrators"


# runner.register.<runner>         by runners with a credential: the broker vouches for the name
def runner_register(runner: str) -> str:
    return f"{RUNNER_REGISTER}.{token(runner, 'runner id')}"


RUNNER_REGISTERS = "runner.register.*"


# runner.artifact
RUNNER_ARTIFACT = "runner.artifact"
RUNNER_ARTIFACT_QUEUE = RUNNER_REGISTER_QUEUE


# runner.artifact.<runner>         by runners with a credential
def runner_artifact(runner: str) -> str:
    return f"{RUNNER_ARTIFACT}.{token(runner, 'runner id')}"


RUNNER_ARTIFACTS = "runner.artifact.*"


# runner.renew.<runner>            a runner asks for a credential that holds longer
def runner_renew(runner: str) -> str:
    return f"runner.renew.{token(runner, 'runner id')}"


RUNNER_RENEWS = "runner.renew.*"
RUNNER_RENEW_QUEUE = RUNNER_REGISTER_QUEUE


# runner.secret
RUNNER_SECRET = "runner.secret"
RUNNER_SECRET_QUEUE = RUNNER_REGISTER_QUEUE


# runner.secret.<runner>           by runners with a credential: the broker vouches for the name
def runner_secret(runner: str) -> str:
    return f"{RUNNER_SECRET}.{token(runner, 'runner id')}"


RUNNER_SECRETS = "runner.secret.*"


# runner.heartbeat.<runner>
def runner_heartbeat(runner: str) -> str:
    return f"runner.heartbeat.{token(runner, 'runner id')}"


RUNNER_HEARTBEATS = "runner.heartbeat.*"


# runner.control.<runner>
def runner_control(runner: str) -> str:
    return f"runner.control.{token(runner, 'runner id')}"


RUNNER_CONTROLS = "runner.control.*"


# job.dispatch.<platform>          any runner of the platform
# job.dispatch.<platform>.<pool>   runners of the named pool only
def job_dispatch(platform: str, pool: str | None = None) -> str:
    subject = f"job.dispatch.{token(platform, 'platform')}"
    return f"{subject}.{token(pool, 'pool')}" if pool else subject


JOB_DISPATCHES = "job.dispatch.>"


def dispatch_consumer(platform: str, pool: str | None = None) -> str:
    """Name of the durable consumer of `job_dispatch(platform, pool)`."""
    token(platform, "platform")
    return f"{platform}_{token(pool, 'pool')}" if pool else platform


# job.progress.<job>.<runner>      terminal records of sessions (stream PROGRESS)
# job.progress.<job>.conductor     terminal records that the conductor owes (stream PROGRESS)
def session_record(job: str, runner: str) -> str:
    return f"job.progress.{token(job, 'job id')}.{token(runner, 'runner id')}"


SESSION_RECORDS = "job.progress.*.*"


def session_records_of(job: str) -> str:
    return f"job.progress.{token(job, 'job id')}.*"


def parse_session_record(subject: str) -> tuple[str, str]:
    """`(job, writer)` of a record's subject; the writer is a runner id or `CONDUCTOR`."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != "job" or parts[1] != "progress":
        raise NameRefused(f"subject {subject!r} is not job.progress.<job>.<runner>")
    return parts[2], parts[3]


# job.progress.<job>               the job's aggregate (core NATS, not kept)
def job_progress(job: str) -> str:
    return f"job.progress.{token(job, 'job id')}"


JOB_PROGRESSES = "job.progress.*"


# job.log.<job>.<runner>           started, step, log line (core NATS, not kept)
def job_log(job: str, runner: str) -> str:
    return f"job.log.{token(job, 'job id')}.{token(runner, 'runner id')}"


JOB_LOGS = "job.log.*.*"


def job_logs_of(job: str) -> str:
    return f"job.log.{token(job, 'job id')}.*"


# job.control.<job>                cancel, pause, resume, kill (core NATS)
def job_control(job: str) -> str:
    return f"job.control.{token(job, 'job id')}"


JOB_CONTROLS = "job.control.*"
# job.control.all                  kills of a project or of the fleet; no job has this id
JOB_CONTROL_ALL = "job.control.all"


# quarantine.<kind>                messages that could not be used (stream QUARANTINE)
# quarantine.<kind>.<runner>       likewise, by runners with a credential
def quarantine(kind: str, runner: str | None = None) -> str:
    """`kind` is what it should have been: `record`, `dispatch`, `heartbeat`, `register`, `control`."""
    subject = f"quarantine.{token(kind, 'kind')}"
    return f"{subject}.{token(runner, 'runner id')}" if runner else subject


QUARANTINES = "quarantine.>"


# audit.entry                      who did what (stream AUDIT)
AUDIT_ENTRY = "audit.entry"

AUDITS = "audit.>"


def is_inbox(subject: str) -> bool:
    """Whether it can be where somebody waits for an answer: an inbox of a client, or, across accounts, the
    broker's own name for one. To anything else nobody answers: it could be made to pass for a message."""
    return subject.startswith(("_INBOX.", "_INBOX_", "_R_."))
