"""Live progress and log lines of single jobs: `job.progress.<job>` and `job.log.<job>.*`, on demand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from broker_config import codec
from broker_config.errors import BrokerUnavailable, MessageError
from broker_config.messages import JobLog, JobProgress
from broker_config.subjects import job_logs_of, job_progress

logger = logging.getLogger(__name__)

#: Log lines that may wait for this process, bytes; the broker's client drops what goes beyond.
_LOG_BYTES = 4 << 20
_FLUSH_WITHIN = 5

T = TypeVar("T", JobProgress, JobLog)


class Watch:
    """A running subscription. `heard` counts its messages, `refused` those that could not be read."""

    def __init__(self) -> None:
        self.heard = 0
        self.refused = 0
        self._sub: Subscription | None = None

    async def close(self) -> None:
        """Nothing is delivered after this has returned."""
        sub, self._sub = self._sub, None
        if sub is not None:
            try:
                await sub.unsubscribe()
            except nats.errors.Error:
                logger.debug("unsubscribe: the connection is gone, and the subscription with it")


class ProgressFeed:
    """`nc` belongs to the caller. Callbacks are called in order and must not block."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    @property
    def breaks(self) -> int:
        """Grows when messages may have been missed: the connection was lost and came back."""
        return int(self._nc.stats["reconnects"])

    async def progress(self, job: str, on_progress: Callable[[JobProgress], None]) -> Watch:
        """Every progress of the job that is published after this has returned. Raises `BrokerUnavailable`."""
        return await self._watch(job, job_progress(job), JobProgress, on_progress)

    async def logs(self, job: str, on_log: Callable[[JobLog], None]) -> Watch:
        """Likewise for its log lines."""
        return await self._watch(job, job_logs_of(job), JobLog, on_log, pending_bytes=_LOG_BYTES)

    async def _watch(
        self,
        job: str,
        subject: str,
        kind: type[T],
        on_message: Callable[[T], None],
        pending_bytes: int = 64 << 20,
    ) -> Watch:
        watch = Watch()

        async def take(msg: Msg) -> None:
            try:
                message = codec.decode(msg.data, kind)
                if message.job != job:
                    raise MessageError(f"it is of job {message.job!r}")
            except MessageError as e:
                watch.refused += 1
                if watch.refused == 1:
                    logger.warning("%s: a message is left out: %s", msg.subject, e)
                return
            watch.heard += 1
            on_message(message)

        try:
            watch._sub = await self._nc.subscribe(subject, cb=take, pending_bytes_limit=pending_bytes)
            # Twice: the first PING may overtake the queued SUB.
            await self._nc.flush(_FLUSH_WITHIN)
            await self._nc.flush(_FLUSH_WITHIN)
        except (nats.errors.Error, OSError):
            await watch.close()
            raise BrokerUnavailable(f"{subject}: the broker does not answer; try again") from None
        except BaseException:
            await watch.close()
            raise
        return watch
