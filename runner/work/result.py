"""A session's end on its way into the stream PROGRESS."""

from __future__ import annotations

import msgspec

from broker_config import codec
from broker_config.messages import SessionRecord
from broker_config.subjects import session_record


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is the encoded record; `ack` is the ack subject of the dispatch, answered when the stream has
    the record. Also the form on disk."""

    job: str
    session: int
    subject: str
    message_id: str
    data: msgspec.Raw
    ack: str

    @classmethod
    def of(cls, record: SessionRecord, ack: str) -> Result:
        return cls(
            job=record.job,
            session=record.session,
            subject=session_record(record.job, record.runner),
            message_id=f"{record.job}.{record.session}.{record.attempt}.{record.runner}.{record.instance}",
            data=msgspec.Raw(codec.encode(record)),
            ack=ack,
        )
