"""Terminal records on their way from the stream into the folds."""

from __future__ import annotations

from collections import deque

from broker_config import codec
from broker_config.errors import MessageError
from broker_config.messages import PROTOCOL, PROTOCOL_OLDEST, ConductorRecord, SessionRecord
from broker_config.subjects import CONDUCTOR, parse_session_record

from .conducted import Conducted
from .quarantine import Quarantine
from .stream_feed import FeedMessage

#: A record of a runner is a kilobyte or so.
MAX_RECORD_BYTES = 64 * 1024


class RecordIntake:
    """`put` is called by the feed, in stream order; `fold` by the conductor."""

    def __init__(self, jobs: Conducted, quarantine: Quarantine) -> None:
        self._jobs = jobs
        self._quarantine = quarantine
        self._waiting: deque[FeedMessage] = deque()

    def put(self, message: FeedMessage) -> None:
        self._waiting.append(message)
        self._jobs.wake.set()

    async def fold(self) -> list[int]:
        """Fold what the feed has brought; sequences of DISPATCH messages that nobody will ack any more."""
        left_over: list[int] = []
        strangers: set[str] = set()
        while self._waiting:
            message = self._waiting.popleft()
            job, writer = parse_session_record(message.subject)
            run = self._jobs.runs.get(job)
            if run is None and job not in self._jobs.finished and job not in strangers:
                run = await self._jobs.look_for(job)
                if run is None and job not in self._jobs.finished:
                    strangers.add(job)
            if run is None:
                if job in strangers:
                    self._quarantine.put("record", message.subject, message.data, f"there is no job {job}")
                continue
            try:
                record = _read_record(message.data, job, writer)
            except MessageError as e:
                self._quarantine.put("record", message.subject, message.data, str(e))
                run.fold.seq = max(run.fold.seq, message.seq)
                continue
            foreign = run.fold.foreign
            left_over += run.apply(message.seq, record, message.at)
            if run.fold.foreign != foreign:
                self._quarantine.put("record", message.subject, message.data, "no such session in the plan")
            self._jobs.touched.add(job)
            if writer == CONDUCTOR:
                run.conductor_seq = max(run.conductor_seq, message.seq)
        return left_over


def _read_record(data: bytes, job: str, writer: str) -> SessionRecord | ConductorRecord:
    """A record whose content agrees with its subject; else `MessageError`."""
    if writer == CONDUCTOR:
        owed = codec.decode(data, ConductorRecord)
        if owed.job != job:
            raise MessageError(f"its content is of job {owed.job}, not of {job}")
        return owed
    record = codec.decode(data, SessionRecord, MAX_RECORD_BYTES)
    if not PROTOCOL_OLDEST <= record.protocol <= PROTOCOL:
        raise MessageError(f"it is of protocol {record.protocol}, not {PROTOCOL_OLDEST} to {PROTOCOL}")
    if record.job != job or record.runner != writer:
        raise MessageError(f"its content is of job {record.job} and runner {record.runner}")
    return record
