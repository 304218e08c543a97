"""Thresholds that end their job early: whether one has been broken. No I/O; the time is an argument."""

from __future__ import annotations

from typing import NamedTuple

from broker_config.job_spec import JobSpec
from broker_config.threshold import COUNTS, Threshold, ThresholdRule, parse

from .fold import Fold
from .measured import measure, show
from .sliding import Sliding

#: Seconds between two looks: merging ten sketches for each rule is not free.
LOOK_EVERY = 0.25


class _Watched(NamedTuple):
    rule: ThresholdRule
    threshold: Threshold
    #: None: at all sessions of the job.
    window: Sliding | None


class Alarm:
    """Looks at what the fold has counted. `resumed`: the fold began from a checkpoint.

    Windows are not checkpointed. Whoever takes over a job begins them empty, and judges them when it has
    watched for their whole length: half a window must not end a job.
    """

    def __init__(self, spec: JobSpec, fold: Fold, *, resumed: bool = False) -> None:
        self._fold = fold
        self._resumed = resumed
        self._watched: list[_Watched] = []
        self._looked_at = float("-inf")
        self._began: float | None = None
        #: The newest record's time by the stream, and by the clock of those who look when it was first seen.
        self._newest, self._newest_at = 0.0, 0.0
        for rule in spec.rules:
            if rule.abort_on_fail:
                threshold = parse(rule.threshold)
                window = Sliding(threshold, rule.window) if rule.window is not None else None
                if window is not None:
                    fold.windows.append(window)
                self._watched.append(_Watched(rule, threshold, window))

    def look(self, now: float, started_at: float | None) -> str:
        """Why the job must end, in words; empty where there is no reason to. `now` and `started_at` are of
        the conductor's clock, which may differ from the stream's."""
        if not self._watched or started_at is None or now - self._looked_at < LOOK_EVERY:
            return ""
        self._looked_at = now
        if self._began is None:
            self._began = now
        at = self._stream_time(now)
        for rule, threshold, window in self._watched:
            if now - started_at < rule.delay:
                continue
            if window is None:
                actual = measure(threshold, self._fold) if self._fold.ended else None
                if actual is None or _may_come(threshold, actual):
                    continue
            else:
                actual = window.measure(at)
                if actual is None or (self._resumed and now - self._began < (rule.window or 0)):
                    continue
            if not threshold.holds(actual):
                over = f" over the last {rule.window}" if window is not None else ""
                return f"ended early: {rule.threshold} does not hold (was {show(threshold, actual)}{over})"
        return ""

    def _stream_time(self, now: float) -> float:
        """The stream's time now: clocks of different machines are never compared."""
        if self._fold.newest != self._newest:
            self._newest, self._newest_at = self._fold.newest, now
        return self._newest + max(0.0, now - self._newest_at)


def _may_come(threshold: Threshold, actual: float) -> bool:
    """A number that only grows, and is too small so far."""
    grows = threshold.metric in COUNTS or threshold.aggregate == "count"
    return grows and threshold.operator in (">", ">=", "==") and actual <= threshold.limit
