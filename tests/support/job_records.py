"""The terminal records of a job, as they stand in the stream."""

from __future__ import annotations

import json
from typing import Any

from broker_config import connection
from broker_config.streams import PROGRESS
from broker_config.subjects import CONDUCTOR, session_records_of
from orchestrator.bus.jet import Jet


async def job_records(nats: str, job: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All that runners have written, and all that the conductor has, in the order of the stream."""
    runners: list[dict[str, Any]] = []
    conductor: list[dict[str, Any]] = []
    async with connection.connected(nats, name="records") as nc:
        for message in await Jet(nc).read_all(PROGRESS.name, session_records_of(job)):
            into = conductor if message.subject.endswith(f".{CONDUCTOR}") else runners
            into.append(json.loads(message.data))
    return runners, conductor
